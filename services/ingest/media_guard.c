/* See media_guard.h. */
#include "services/ingest/media_guard.h"

#include "proto/h264_sps.h"

#include <string.h>

void media_guard_init(struct media_guard *guard, const struct media_guard_limits *limits)
{
    *guard = (struct media_guard){.limits = *limits, .second = -1};
}

/* What cannot be read passes: some encoders begin with scrap and send the right one later. */
static enum close_reason check_picture(const struct media_guard *guard, const uint8_t *nal, size_t len_bytes)
{
    struct h264_sps sps;
    int code = h264_sps_parse(nal, len_bytes, &sps);

    if (code == 0 && (int64_t)sps.coded_width * sps.coded_height > guard->limits.max_picture_samples)
        code = H264_SPS_TOO_LARGE;
    return code == H264_SPS_TOO_LARGE ? CLOSE_PICTURE_SIZE : CLOSE_NONE;
}

static enum close_reason check_config(struct media_guard *guard, const uint8_t *record, size_t len_bytes)
{
    struct flv_avc_config config;
    enum close_reason reason = CLOSE_NONE;

    if (flv_avc_config_parse(record, len_bytes, &config) != 0)
        return CLOSE_BAD_MEDIA;
    guard->nal_length_size = config.nal_length_size;
    const uint8_t *at = config.sps;
    for (int i = 0; i < config.sps_count && reason == CLOSE_NONE; i++) {
        size_t len = (size_t)at[0] << 8 | at[1];

        reason = check_picture(guard, at + 2, len);
        at += 2 + len;
    }
    return reason;
}

/* A parameter set within the stream may change the picture's size, too. The lengths are known to be sound. */
static enum close_reason check_key_frame(const struct media_guard *guard, const uint8_t *at, size_t left)
{
    const size_t prefix = (size_t)guard->nal_length_size;
    enum close_reason reason = CLOSE_NONE;

    while (left > 0 && reason == CLOSE_NONE) {
        size_t len = 0;

        for (size_t i = 0; i < prefix; i++)
            len = len << 8 | at[i];
        if (len > 0 && (at[prefix] & 0x1f) == H264_NAL_SPS)
            reason = check_picture(guard, at + prefix, len);
        at += prefix + len;
        left -= prefix + len;
    }
    return reason;
}

static enum close_reason check_video(struct media_guard *guard, const struct flv_tag *tag, int64_t now_ms)
{
    enum close_reason reason = CLOSE_NONE;

    if (tag->codec != FLV_VIDEO_AVC)
        return CLOSE_VIDEO_CODEC;
    /* Some encoders begin with an empty one and send the right one later. */
    if (tag->is_sequence_header)
        return tag->payload_len > 0 ? check_config(guard, tag->payload, tag->payload_len) : CLOSE_NONE;
    if (!tag->is_media)
        return CLOSE_NONE;
    if (guard->nal_length_size != 0 &&
        !flv_avc_payload_is_sound(tag->payload, tag->payload_len, guard->nal_length_size))
        return CLOSE_BAD_MEDIA;
    if (tag->is_keyframe && guard->nal_length_size != 0)
        reason = check_key_frame(guard, tag->payload, tag->payload_len);
    if (reason != CLOSE_NONE)
        return reason;
    if (tag->is_keyframe || guard->keyframe_due_ms == 0)
        guard->keyframe_due_ms = now_ms + guard->limits.keyframe_ms;
    return now_ms >= guard->keyframe_due_ms ? CLOSE_NO_KEYFRAME : CLOSE_NONE;
}

static enum close_reason check_audio(const struct flv_tag *tag)
{
    struct flv_aac_config config;

    if (tag->codec != FLV_AUDIO_AAC)
        return CLOSE_AUDIO_CODEC;
    if (tag->is_sequence_header && tag->payload_len > 0 &&
        flv_aac_config_parse(tag->payload, tag->payload_len, &config) != 0)
        return CLOSE_BAD_MEDIA;
    return CLOSE_NONE;
}

/* Five whole seconds and the one that runs. */
static enum close_reason check_bitrate(struct media_guard *guard, size_t bytes, int64_t now_ms)
{
    const int64_t buckets = MEDIA_GUARD_WINDOW_S + 1;
    int64_t second = now_ms / 1000, total = 0;

    if (guard->second < 0 || second - guard->second >= buckets)
        memset(guard->bytes, 0, sizeof(guard->bytes));
    else
        for (int64_t s = guard->second + 1; s <= second; s++)
            guard->bytes[s % buckets] = 0;
    guard->second = second;
    guard->bytes[second % buckets] += (int64_t)bytes;
    for (int64_t i = 0; i < buckets; i++)
        total += guard->bytes[i];
    int64_t window_ms = MEDIA_GUARD_WINDOW_S * 1000 + now_ms % 1000;
    return total * 8 > guard->limits.max_bitrate_kbps * window_ms ? CLOSE_BITRATE : CLOSE_NONE;
}

enum close_reason media_guard_check(struct media_guard *guard, const struct flv_tag *tag, int64_t now_ms)
{
    enum close_reason reason = CLOSE_NONE;

    if (tag->type == FLV_TAG_VIDEO)
        reason = check_video(guard, tag, now_ms);
    else if (tag->type == FLV_TAG_AUDIO)
        reason = check_audio(tag);
    return reason != CLOSE_NONE ? reason : check_bitrate(guard, tag->body_len, now_ms);
}
