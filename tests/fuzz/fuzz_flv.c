/* The FLV reader on any bytes: tags, bodies, configuration records. What parses is written again and must be the same.
 */
#include "libcommon/buffer.h"
#include "proto/flv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_inside(const struct flv_tag *tag)
{
    struct flv_avc_config avc;
    struct flv_aac_config aac;

    if (tag->payload_len > tag->body_len)
        abort();
    if (flv_avc_config_parse(tag->payload, tag->payload_len, &avc) == 0)
        flv_avc_payload_is_sound(tag->payload, tag->payload_len, avc.nal_length_size);
    flv_avc_payload_is_sound(tag->payload, tag->payload_len, 4);
    if (flv_aac_config_parse(tag->payload, tag->payload_len, &aac) == 0 && aac.sample_rate == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer again;
    struct flv_tag tag;
    int taken;

    buffer_init(&again, 1 << 24);
    for (size_t at = 0; (taken = flv_tag_parse(data + at, size - at, &tag)) > 0; at += (size_t)taken) {
        if ((size_t)taken > size - at)
            abort();
        look_inside(&tag);
        buffer_reset(&again);
        if (flv_tag_append(&again, tag.type, tag.timestamp_ms, tag.body, tag.body_len) != 0 ||
            again.len != (size_t)taken || memcmp(again.data, data + at, again.len) != 0)
            abort();
    }
    flv_body_parse(FLV_TAG_VIDEO, 0, data, size, &tag);
    look_inside(&tag);
    flv_body_parse(FLV_TAG_AUDIO, 0, data, size, &tag);
    look_inside(&tag);
    buffer_clear(&again);
    return 0;
}
