/* A publisher's tags through the guard, each as type, length (16 bits) and body, the last one possibly cut short; ten
 * of them to a second. What the guard lets through has no parameter set of a larger picture than the limit. */
#include "proto/h264_sps.h"
#include "services/ingest/media_guard.h"

#include <assert.h>

#define MAX_SAMPLES (1280 * 720)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_first_sps(const struct flv_tag *tag)
{
    struct flv_avc_config config;
    struct h264_sps sps;

    if (flv_avc_config_parse(tag->payload, tag->payload_len, &config) != 0)
        return;
    if (h264_sps_parse(config.sps + 2, (size_t)config.sps[0] << 8 | config.sps[1], &sps) == 0)
        assert((int64_t)sps.width * sps.height <= MAX_SAMPLES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum flv_tag_type types[] = {FLV_TAG_AUDIO, FLV_TAG_VIDEO, FLV_TAG_SCRIPT};
    const struct media_guard_limits limits = {
        .max_bitrate_kbps = 20000, .max_picture_samples = MAX_SAMPLES, .keyframe_ms = 30000};
    struct media_guard guard;

    media_guard_init(&guard, &limits);
    for (int64_t now_ms = 0; size >= 3; now_ms += 100) {
        size_t len = (size_t)data[1] << 8 | data[2];
        enum flv_tag_type type = types[data[0] % 3];
        struct flv_tag tag;

        data += 3;
        size -= 3;
        len = len < size ? len : size;
        flv_body_parse(type, (uint32_t)now_ms, data, len, &tag);
        if (media_guard_check(&guard, &tag, now_ms) == CLOSE_NONE && type == FLV_TAG_VIDEO && tag.is_sequence_header)
            check_first_sps(&tag);
        data += len;
        size -= len;
    }
    return 0;
}
