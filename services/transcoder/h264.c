/* Framing of NAL units and parameter sets; see h264.h. */
#include "services/transcoder/h264.h"

#include "libcommon/buffer.h"

#include <assert.h>
#include <string.h>

enum { SEI_RECOVERY_POINT = 6, MAX_SEI_BYTES = 1024, AVCC_HEADER_SIZE = 6, AVCC_VERSION = 1 };

static const uint8_t start_code[4] = {0, 0, 0, 1};

static void describe_nal(struct h264_nal *nal, const uint8_t *data, size_t len_bytes)
{
    *nal = (struct h264_nal){.type = data[0] & 0x1f, .ref_idc = data[0] >> 5 & 3, .data = data, .len_bytes = len_bytes};
}

int h264_avcc_next(const uint8_t **at, size_t *left, int nal_length_size, struct h264_nal *nal)
{
    assert(nal_length_size >= 1 && nal_length_size <= 4);
    while (*left > 0) {
        size_t len = 0;
        if (*left < (size_t)nal_length_size)
            return -1;
        for (int i = 0; i < nal_length_size; i++)
            len = len << 8 | (*at)[i];
        if (len > *left - (size_t)nal_length_size)
            return -1;
        const uint8_t *data = *at + nal_length_size;
        *at = data + len;
        *left -= (size_t)nal_length_size + len;
        if (len > 0) {
            describe_nal(nal, data, len);
            return 1;
        }
    }
    return 0;
}

int h264_annexb_next(const uint8_t **at, size_t *left, struct h264_nal *nal)
{
    while (*left > 3) {
        const uint8_t *end = *at + *left;
        const uint8_t *code = memmem(*at, *left, start_code + 1, 3);
        if (!code)
            break;
        const uint8_t *data = code + 3;
        const uint8_t *next = memmem(data, (size_t)(end - data), start_code + 1, 3);
        const uint8_t *stop = next ? next : end;
        *at = stop;
        *left = (size_t)(end - stop);
        /* B.1: zeros in front of a start code, and behind the last unit, belong to the byte stream. */
        while (stop > data && stop[-1] == 0)
            stop--;
        if (stop > data) {
            describe_nal(nal, data, (size_t)(stop - data));
            return 1;
        }
    }
    *at += *left;
    *left = 0;
    return 0;
}

/* D.1: messages of type and size, each in steps of 255. */
static bool sei_has_recovery_point(const struct h264_nal *nal)
{
    uint8_t payload[MAX_SEI_BYTES];
    size_t len = h264_unescape(nal->data + 1, nal->len_bytes - 1, payload, sizeof payload), at = 0;

    while (at + 2 <= len) {
        size_t fields[2] = {0, 0};
        for (int i = 0; i < 2; i++) {
            while (at < len && payload[at] == 255) {
                fields[i] += 255;
                at++;
            }
            if (at == len)
                return false;
            fields[i] += payload[at++];
        }
        if (fields[0] == SEI_RECOVERY_POINT)
            return true;
        if (fields[1] > len - at)
            return false;
        at += fields[1];
    }
    return false;
}

static void inspect_nal(struct h264_access_unit *unit, const struct h264_nal *nal)
{
    unit->nal_count++;
    switch (nal->type) {
    case H264_NAL_IDR:
        unit->is_idr = true;
        unit->has_slice = true;
        break;
    case H264_NAL_SLICE:
    case 2: /* data partitions of extended profile */
        unit->has_slice = true;
        break;
    case H264_NAL_SEI:
        if (!unit->has_recovery_point)
            unit->has_recovery_point = sei_has_recovery_point(nal);
        break;
    case H264_NAL_SPS:
        unit->has_sps = true;
        break;
    case H264_NAL_PPS:
        unit->has_pps = true;
        break;
    case H264_NAL_AUD:
        unit->has_aud = true;
        break;
    default:
        break;
    }
}

void h264_access_unit_inspect(const uint8_t *annexb, size_t len_bytes, struct h264_access_unit *unit)
{
    struct h264_nal nal;

    *unit = (struct h264_access_unit){0};
    while (h264_annexb_next(&annexb, &len_bytes, &nal) > 0)
        inspect_nal(unit, &nal);
}

int h264_access_unit_inspect_avcc(const uint8_t *payload, size_t len_bytes, int nal_length_size,
                                  struct h264_access_unit *unit)
{
    struct h264_nal nal;
    int got;

    *unit = (struct h264_access_unit){0};
    while ((got = h264_avcc_next(&payload, &len_bytes, nal_length_size, &nal)) > 0)
        inspect_nal(unit, &nal);
    return got;
}

static int append_nal(struct buffer *out, const struct h264_nal *nal)
{
    uint8_t *room = buffer_reserve(out, sizeof start_code + nal->len_bytes);

    if (!room)
        return -1;
    memcpy(room, start_code, sizeof start_code);
    memcpy(room + sizeof start_code, nal->data, nal->len_bytes);
    buffer_commit(out, sizeof start_code + nal->len_bytes);
    return 0;
}

static bool lacks_parameter_sets(const struct h264_access_unit *unit)
{
    return unit->is_idr && !(unit->has_sps && unit->has_pps);
}

/* Appends one NAL unit of an access unit; `missing` (or NULL once written) goes in front of the first that is no
 * delimiter: 7.4.1.2.3 wants the delimiter first. */
static int append_in_order(struct buffer *out, const struct h264_nal *nal, const struct h264_config **missing)
{
    if (*missing && nal->type != H264_NAL_AUD) {
        if (buffer_append(out, (*missing)->parameter_sets, (*missing)->parameter_sets_len) < 0)
            return -1;
        *missing = NULL;
    }
    return append_nal(out, nal);
}

int h264_avcc_to_annexb(const uint8_t *payload, size_t len_bytes, int nal_length_size, const struct h264_config *config,
                        struct buffer *out)
{
    struct h264_access_unit unit;
    struct h264_sps sps;
    struct h264_nal nal;
    size_t len_before = out->len;

    if (h264_access_unit_inspect_avcc(payload, len_bytes, nal_length_size, &unit) < 0 || unit.nal_count == 0)
        return -1;
    const struct h264_config *missing = lacks_parameter_sets(&unit) ? config : NULL;
    while (h264_avcc_next(&payload, &len_bytes, nal_length_size, &nal) > 0)
        /* A parameter set within the stream may change the picture's size too. */
        if ((nal.type == H264_NAL_SPS && h264_sps_parse(nal.data, nal.len_bytes, &sps) < 0) ||
            append_in_order(out, &nal, &missing) < 0) {
            out->len = len_before;
            return -1;
        }
    return 0;
}

int h264_access_unit_complete(const uint8_t *annexb, size_t len_bytes, const struct h264_config *config,
                              struct buffer *out)
{
    struct h264_access_unit unit;
    struct h264_nal nal;
    size_t len_before = out->len;

    h264_access_unit_inspect(annexb, len_bytes, &unit);
    if (unit.nal_count == 0)
        return -1;
    if (!config || !lacks_parameter_sets(&unit))
        return buffer_append(out, annexb, len_bytes);
    const struct h264_config *missing = config;
    while (h264_annexb_next(&annexb, &len_bytes, &nal) > 0)
        if (append_in_order(out, &nal, &missing) < 0) {
            out->len = len_before;
            return -1;
        }
    return 0;
}

static int add_parameter_set(struct h264_config *config, const struct h264_nal *nal)
{
    struct h264_sps another;
    size_t room = sizeof config->parameter_sets - config->parameter_sets_len;
    uint8_t *end = config->parameter_sets + config->parameter_sets_len;

    if (nal->len_bytes > room || room - nal->len_bytes < sizeof start_code)
        return -1;
    if (nal->type == H264_NAL_SPS &&
        h264_sps_parse(nal->data, nal->len_bytes, config->sps_count++ == 0 ? &config->sps : &another) < 0)
        return -1;
    if (nal->type == H264_NAL_PPS)
        config->pps_count++;
    memcpy(end, start_code, sizeof start_code);
    memcpy(end + sizeof start_code, nal->data, nal->len_bytes);
    config->parameter_sets_len += sizeof start_code + nal->len_bytes;
    return 0;
}

/* `count` parameter sets, each behind a 16-bit length. Other NAL types there are left out: some encoders add SEI. */
static int parse_sets(const uint8_t **at, size_t *left, int count, int type, struct h264_config *config)
{
    for (int i = 0; i < count; i++) {
        struct h264_nal nal;
        size_t len;
        if (*left < 2)
            return -1;
        len = (size_t)(*at)[0] << 8 | (*at)[1];
        if (len > *left - 2)
            return -1;
        if (len > 0) {
            describe_nal(&nal, *at + 2, len);
            if (nal.type == type && add_parameter_set(config, &nal) < 0)
                return -1;
        }
        *at += 2 + len;
        *left -= 2 + len;
    }
    return 0;
}

int h264_config_parse(const uint8_t *record, size_t len_bytes, struct h264_config *config)
{
    *config = (struct h264_config){0};
    if (len_bytes < AVCC_HEADER_SIZE + 1 || record[0] != AVCC_VERSION)
        return -1;
    const uint8_t *at = record + AVCC_HEADER_SIZE;
    size_t left = len_bytes - AVCC_HEADER_SIZE;
    config->nal_length_size = (record[4] & 3) + 1;
    if (config->nal_length_size == 3)
        return -1;
    if (parse_sets(&at, &left, record[5] & 0x1f, H264_NAL_SPS, config) < 0 || left < 1)
        return -1;
    int pps_count = *at++;
    left--;
    if (parse_sets(&at, &left, pps_count, H264_NAL_PPS, config) < 0)
        return -1;
    return config->sps_count > 0 && config->pps_count > 0 ? 0 : -1;
}

int h264_config_from_annexb(const uint8_t *annexb, size_t len_bytes, struct h264_config *config)
{
    static const int types[] = {H264_NAL_SPS, H264_NAL_PPS};

    *config = (struct h264_config){.nal_length_size = 4};
    for (int pass = 0; pass < 2; pass++) {
        const uint8_t *at = annexb;
        size_t left = len_bytes;
        struct h264_nal nal;
        while (h264_annexb_next(&at, &left, &nal) > 0)
            if (nal.type == types[pass] && add_parameter_set(config, &nal) < 0)
                return -1;
    }
    return config->sps_count > 0 && config->pps_count > 0 ? 0 : -1;
}

bool h264_config_equal(const struct h264_config *a, const struct h264_config *b)
{
    return a->nal_length_size == b->nal_length_size && a->parameter_sets_len == b->parameter_sets_len &&
           memcmp(a->parameter_sets, b->parameter_sets, a->parameter_sets_len) == 0;
}
