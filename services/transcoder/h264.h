/* H.264 as it comes from a publisher and goes into a transport stream: the two ways of framing NAL units (length
 * prefixes, ISO/IEC 14496-15, 5.3; start codes, 14496-10, annex B), the decoder configuration record; the sequence
 * parameter set is proto/h264_sps.h. No decoding, no I/O, no allocation but in the buffer given. Any thread. All input
 * may be hostile. */
#pragma once

#include "proto/h264_sps.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer;

#define H264_MAX_PARAMETER_SETS 4096 /* bytes of all SPS and PPS with their start codes */

struct h264_nal {
    int type, ref_idc;
    const uint8_t *data; /* with its header byte, without start code or length; points into the input */
    size_t len_bytes;    /* at least 1 */
};

/* An AVCDecoderConfigurationRecord (14496-15, 5.3.3.1). Plain value, may be copied. */
struct h264_config {
    int nal_length_size; /* 1, 2 or 4 */
    int sps_count, pps_count;
    struct h264_sps sps; /* of the first one */
    size_t parameter_sets_len;
    uint8_t parameter_sets[H264_MAX_PARAMETER_SETS]; /* all SPS then all PPS, Annex B with 4-byte start codes */
};
/* 0, or -1: not a record, sizes that lie, no SPS or PPS, an SPS that h264_sps_parse() refuses, or too large. */
int h264_config_parse(const uint8_t *record, size_t len_bytes, struct h264_config *config)
    __attribute__((warn_unused_result));
/* Whether frames of one can go on where frames of the other ended without a new configuration. */
bool h264_config_equal(const struct h264_config *a, const struct h264_config *b);
/* The same from the parameter sets of an Annex B access unit (an encoder's first one); nal_length_size becomes 4.
 * 0, or -1: not both an SPS and a PPS in it, or unreadable, or too large. */
int h264_config_from_annexb(const uint8_t *annexb, size_t len_bytes, struct h264_config *config)
    __attribute__((warn_unused_result));

/* The next NAL unit; `at` and `left` move on behind it. 1, 0 at the end, or -1: a length that leads out of the input
 * (the rest is unusable). Empty units are skipped. */
int h264_avcc_next(const uint8_t **at, size_t *left, int nal_length_size, struct h264_nal *nal);
/* The same for start codes; bytes in front of the first one are skipped, trailing zero bytes belong to no unit.
 * 1, or 0 at the end. */
int h264_annexb_next(const uint8_t **at, size_t *left, struct h264_nal *nal);

/* What an access unit holds. */
struct h264_access_unit {
    bool is_idr, has_slice, has_aud, has_sps, has_pps;
    bool has_recovery_point; /* SEI: an entry point of an open GOP that is no IDR */
    int nal_count;
};
void h264_access_unit_inspect(const uint8_t *annexb, size_t len_bytes, struct h264_access_unit *unit);
/* The same for length prefixes; -1 when they are broken (`unit` then tells what came before). */
int h264_access_unit_inspect_avcc(const uint8_t *payload, size_t len_bytes, int nal_length_size,
                                  struct h264_access_unit *unit);

/* Appends the access unit with start codes. With `config` (else NULL) its parameter sets are put in front of an IDR
 * that lacks SPS or PPS, behind an access unit delimiter. `nal_length_size` 1-4. 0, or -1: broken lengths, no NAL unit,
 * an SPS that h264_sps_parse() refuses, `out` full or memory out; `out` is then as it was. */
int h264_avcc_to_annexb(const uint8_t *payload, size_t len_bytes, int nal_length_size, const struct h264_config *config,
                        struct buffer *out) __attribute__((warn_unused_result));
/* Appends an Annex B access unit, parameter sets inserted in the same way. 0, or -1: no NAL unit, `out` full. */
int h264_access_unit_complete(const uint8_t *annexb, size_t len_bytes, const struct h264_config *config,
                              struct buffer *out) __attribute__((warn_unused_result));
