#include "services/transcoder/source_probe.h"

#include "libcommon/alloc.h"
#include "proto/flv.h"
#include "services/transcoder/aac.h"

#include <stdio.h>

#define MAX_DELTAS 64

struct media_entry *media_entry_create(const char *id, int64_t arrival_ms, int64_t session, const uint8_t *bytes,
                                       size_t len_bytes)
{
    struct media_entry *entry = calloc(1, sizeof(*entry) + len_bytes);

    if (!entry)
        abort();
    snprintf(entry->id, sizeof(entry->id), "%s", id);
    entry->arrival_ms = arrival_ms;
    entry->session = session;
    entry->len_bytes = len_bytes;
    if (len_bytes > 0)
        memcpy(entry->bytes, bytes, len_bytes);
    return entry;
}

struct tally {
    bool has_avc, has_aac, has_any;
    uint32_t first_ms;
    int64_t span_ms; /* furthest from the first */
    uint32_t last_video_ms, first_video_ms;
    int video_frames, deltas_count;
    int deltas[MAX_DELTAS];
    uint32_t key_ms;
    bool has_key;
    size_t video_bytes;
};

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Time stamps are whole milliseconds, so 33 means 30 frames a second: rates in use are preferred to what is computed.
 */
static struct ladder_rate snap(double rate)
{
    static const struct ladder_rate usual[] = {{30, 1}, {25, 1}, {60, 1}, {50, 1}, {24, 1},
                                               {15, 1}, {20, 1}, {10, 1}, {48, 1}, {30000, 1001}};

    for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
        const double off = rate * usual[i].den / usual[i].num;
        if (off > 0.97 && off < 1.03)
            return usual[i];
    }
    return (struct ladder_rate){rate < 1 ? 1 : rate > 240 ? 240 : (int)(rate + 0.5), 1};
}

static struct ladder_rate rate_of(struct tally *tally)
{
    if (tally->deltas_count < 4)
        return (struct ladder_rate){0, 1};
    qsort(tally->deltas, (size_t)tally->deltas_count, sizeof(tally->deltas[0]), compare_ints);
    const int median = tally->deltas[tally->deltas_count / 2];
    int64_t sum = 0;
    for (int i = 0; i < tally->deltas_count; i++)
        sum += tally->deltas[i];
    const double mean = (double)sum / tally->deltas_count;
    /* A few long waits do not make a slow camera. */
    const double interval = mean > median * 1.2 || median <= 0 ? median : mean;
    return interval > 0 ? snap(1000 / interval) : (struct ladder_rate){0, 1};
}

static void look_at_video(const struct flv_tag *tag, struct tally *tally, struct source_probe *probe)
{
    struct h264_access_unit unit;
    if (tag->is_sequence_header) {
        tally->has_avc = h264_config_parse(tag->payload, tag->payload_len, &probe->config) == 0;
        return;
    }
    if (!tag->is_media || !tally->has_avc || (tally->video_frames == 0 && !tag->is_keyframe))
        return;
    const int delta = (int)(tag->timestamp_ms - tally->last_video_ms);
    if (tally->video_frames++ > 0 && delta >= 0 && delta < 2000 && tally->deltas_count < MAX_DELTAS)
        tally->deltas[tally->deltas_count++] = delta;
    tally->last_video_ms = tag->timestamp_ms;
    tally->video_bytes += tag->payload_len;
    if (tag->is_keyframe) {
        if (tally->has_key)
            probe->key_interval_ms = (int32_t)(tag->timestamp_ms - tally->key_ms);
        tally->has_key = true;
        if (h264_access_unit_inspect_avcc(tag->payload, tag->payload_len, probe->config.nal_length_size, &unit) != 0 ||
            !unit.is_idr)
            probe->has_open_gop = true;
        tally->key_ms = tag->timestamp_ms;
    }
    probe->has_video = true;
}

static void look_at_audio(const struct flv_tag *tag, struct tally *tally, struct source_probe *probe)
{
    struct aac_config config;

    if (tag->codec != FLV_AUDIO_AAC)
        return;
    if (tag->is_sequence_header)
        tally->has_aac = aac_config_parse(tag->payload, tag->payload_len, &config) == 0;
    else if (tag->is_media && tally->has_aac)
        probe->has_audio = true;
}

void source_probe_run(const struct media_entry *first, bool wants_gops, struct source_probe *probe)
{
    struct tally tally = {0};
    struct flv_tag tag;

    *probe = (struct source_probe){.rate = {0, 1}};
    for (const struct media_entry *entry = first; entry; entry = entry->next) {
        const uint8_t *at = entry->bytes;
        size_t left = entry->len_bytes;
        int taken;

        if (entry != first && (entry->session != first->session || entry->is_gap || entry->is_end)) {
            probe->is_complete = true;
            break;
        }
        while ((taken = flv_tag_parse(at, left, &tag)) > 0) {
            at += taken;
            left -= (size_t)taken;
            if (tag.type == FLV_TAG_VIDEO && tag.codec == FLV_VIDEO_AVC)
                look_at_video(&tag, &tally, probe);
            else if (tag.type == FLV_TAG_AUDIO)
                look_at_audio(&tag, &tally, probe);
            if (!tag.is_media)
                continue;
            if (!tally.has_any)
                tally.first_ms = tag.timestamp_ms;
            tally.has_any = true;
            const int32_t span = (int32_t)(tag.timestamp_ms - tally.first_ms);
            /* A jump among the first messages must not hide what comes later. */
            if (span > tally.span_ms && span < tally.span_ms + PROBE_MEDIA_MS)
                tally.span_ms = span;
        }
    }
    probe->rate = rate_of(&tally);
    if (tally.span_ms > 0)
        probe->video_kbps = (int)((int64_t)tally.video_bytes * 8 / tally.span_ms);
    if (wants_gops && probe->has_video && probe->key_interval_ms == 0 && tally.span_ms < PROBE_KEYS_MS)
        return;
    if (tally.span_ms >= PROBE_MEDIA_MS || (probe->has_video && probe->has_audio && tally.video_frames >= PROBE_FRAMES))
        probe->is_complete = true;
}

int source_probe_earliest(const struct media_entry *entry, uint32_t *earliest_ms)
{
    bool found = false;

    for (; entry && !found; entry = entry->next) {
        const uint8_t *at = entry->bytes;
        size_t left = entry->len_bytes;
        struct flv_tag tag;
        int taken;

        while ((taken = flv_tag_parse(at, left, &tag)) > 0) {
            at += taken;
            left -= (size_t)taken;
            if (!tag.is_media)
                continue;
            const uint32_t pts_ms = tag.timestamp_ms + (uint32_t)tag.composition_offset_ms;
            if (!found || ((int32_t)(pts_ms - *earliest_ms) < 0 && (int32_t)(*earliest_ms - pts_ms) < 1000))
                *earliest_ms = pts_ms;
            found = true;
        }
    }
    return found ? 0 : -1;
}
