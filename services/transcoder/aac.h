/* AAC's descriptions: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1) as an RTMP sequence header carries it, the ADTS
 * header (1.A.2.2) as a transport stream carries it. No decoding, no I/O, no allocation. Any thread. All input may be
 * hostile.
 *
 *     struct aac_config config; uint8_t header[AAC_ADTS_HEADER_SIZE];
 *     if (aac_config_parse(record, len, &config) == 0 && aac_adts_write(&config, raw_len, header) == 0)
 *         … header followed by the raw frame is one ADTS frame … */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AAC_ADTS_HEADER_SIZE  7
#define AAC_MAX_CONFIG_SIZE   16
#define AAC_CODEC_STRING_SIZE 12 /* "mp4a.40.29" */
#define AAC_MAX_CHANNELS      64

enum aac_object_type { AAC_MAIN = 1, AAC_LC = 2, AAC_SSR = 3, AAC_LTP = 4, AAC_SBR = 5, AAC_PS = 29 };

struct aac_config {
    int object_type;           /* of the core: AAC_LC also for HE-AAC */
    int core_sample_rate;      /* Hz: what ADTS names, and what `frame_samples` count in */
    int output_sample_rate;    /* Hz: twice the core's with SBR, unless told otherwise */
    int channel_configuration; /* table 1.19; 0: a program config element tells */
    int channels;              /* of the output (2 with PS); 0: not known */
    bool sbr, ps;              /* signalled explicitly; a stream may still hold them implicitly */
    int frame_samples;         /* 1024, or 960 */
};

/* 0, or -1: truncated, reserved values, or an object type that is no AAC with a general audio configuration. */
int aac_config_parse(const uint8_t *bytes, size_t len_bytes, struct aac_config *config)
    __attribute__((warn_unused_result));
/* Writes an AudioSpecificConfig, SBR and PS with hierarchical signalling. Returns its bytes, or -1: a config that
 * cannot be written (no channel configuration). */
int aac_config_write(const struct aac_config *config, uint8_t out[AAC_MAX_CONFIG_SIZE]);
/* RFC 6381: "mp4a.40.2", "mp4a.40.5" (SBR), "mp4a.40.29" (PS). */
void aac_codec_string(const struct aac_config *config, char out[AAC_CODEC_STRING_SIZE]);
/* Time that `frames` raw frames take, in microseconds (rounded once, so sums do not drift). */
int64_t aac_frames_duration_us(const struct aac_config *config, int64_t frames);

/* The header in front of a raw frame of `raw_len` bytes, without CRC. 0, or -1: the frame is too long (8191 bytes with
 * its header), the object type is above 4, the rate is none of the thirteen of table 1.18, or more than 7.1 channels.
 */
int aac_adts_write(const struct aac_config *config, size_t raw_len, uint8_t out[AAC_ADTS_HEADER_SIZE])
    __attribute__((warn_unused_result));

struct aac_adts {
    int object_type, sample_rate, channel_configuration;
    int header_len; /* bytes: 7, or 9 with CRC */
    int frame_len;  /* bytes, header included */
    int blocks;     /* raw data blocks of 1024 samples, 1-4 */
};
/* The header at `bytes`, which need not hold the whole frame. 0, or -1: fewer than 7 bytes, or no ADTS header. */
int aac_adts_parse(const uint8_t *bytes, size_t len_bytes, struct aac_adts *adts) __attribute__((warn_unused_result));
/* The configuration that an ADTS header stands for. */
void aac_adts_config(const struct aac_adts *adts, struct aac_config *config);
