/* See aac.h. Clauses and tables are those of ISO/IEC 14496-3. */
#include "services/transcoder/aac.h"

#include "libcommon/bit_reader.h"

#include <stdio.h>
#include <string.h>

enum {
    ESCAPE_OBJECT_TYPE = 31,
    EXPLICIT_RATE = 15,
    MAX_SAMPLE_RATE = 192000,
    SBR_SYNC = 0x2b7,
    PS_SYNC = 0x548,
    ADTS_MAX_FRAME = 0x1fff,
    MICROSECONDS = 1000000,
};

/* Table 1.18 */
static const int sample_rates[] = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                   22050, 16000, 12000, 11025, 8000,  7350};
#define SAMPLE_RATES (int)(sizeof sample_rates / sizeof *sample_rates)

/* Table 1.19; 0: reserved, or told elsewhere. */
static const uint8_t channels_of[] = {0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 24, 8};

static int rate_index(int sample_rate)
{
    for (int i = 0; i < SAMPLE_RATES; i++)
        if (sample_rates[i] == sample_rate)
            return i;
    return -1;
}

static int take_object_type(struct bit_reader *bits)
{
    int type = (int)bit_reader_take(bits, 5);

    return type == ESCAPE_OBJECT_TYPE ? 32 + (int)bit_reader_take(bits, 6) : type;
}

/* Hz, or 0: reserved or absurd. */
static int take_sample_rate(struct bit_reader *bits)
{
    uint32_t index = bit_reader_take(bits, 4);

    if (index == EXPLICIT_RATE) {
        uint32_t rate = bit_reader_take(bits, 24);
        return rate <= MAX_SAMPLE_RATE ? (int)rate : 0;
    }
    return index < (uint32_t)SAMPLE_RATES ? sample_rates[index] : 0;
}

/* program_config_element, 4.4.1.1: only the number of channels is of use. */
static int take_program_channels(struct bit_reader *bits)
{
    int channels = 0;

    bit_reader_take(bits, 4 + 2 + 4);
    int front = (int)bit_reader_take(bits, 4), side = (int)bit_reader_take(bits, 4),
        back = (int)bit_reader_take(bits, 4);
    int lfe = (int)bit_reader_take(bits, 2), data = (int)bit_reader_take(bits, 3),
        coupling = (int)bit_reader_take(bits, 4);
    if (bit_reader_flag(bits))
        bit_reader_take(bits, 4);
    if (bit_reader_flag(bits))
        bit_reader_take(bits, 4);
    if (bit_reader_flag(bits))
        bit_reader_take(bits, 3);
    for (int positions = front + side + back; positions > 0; positions--) {
        channels += bit_reader_flag(bits) ? 2 : 1;
        bit_reader_take(bits, 4);
    }
    channels += lfe;
    for (int i = 0; i < lfe + data; i++)
        bit_reader_take(bits, 4);
    for (int i = 0; i < coupling; i++)
        bit_reader_take(bits, 5);
    bit_reader_take(bits, (int)((8 - bits->position % 8) % 8));
    for (uint32_t comment = bit_reader_take(bits, 8); comment > 0; comment--)
        bit_reader_take(bits, 8);
    return channels;
}

/* GASpecificConfig, 4.4.1, for the object types that aac_config_parse lets through. */
static void take_general_config(struct bit_reader *bits, struct aac_config *config)
{
    config->frame_samples = bit_reader_flag(bits) ? 960 : 1024;
    if (bit_reader_flag(bits))
        bit_reader_take(bits, 14);
    bool extension = bit_reader_flag(bits);
    if (config->channel_configuration == 0)
        config->channels = take_program_channels(bits);
    if (extension)
        bit_reader_take(bits, 1);
}

/* The backward compatible signalling behind the core's configuration (1.6.5.1). A trailing scrap is no error. */
static void take_sync_extension(struct bit_reader *bits, struct aac_config *config)
{
    struct bit_reader ahead = *bits;

    if (bit_reader_left(&ahead) < 16 || bit_reader_take(&ahead, 11) != SBR_SYNC || take_object_type(&ahead) != AAC_SBR)
        return;
    if (!bit_reader_flag(&ahead))
        return;
    int rate = take_sample_rate(&ahead);
    if (ahead.overrun || rate == 0)
        return;
    config->sbr = true;
    config->output_sample_rate = rate;
    if (bit_reader_left(&ahead) >= 12 && bit_reader_take(&ahead, 11) == PS_SYNC)
        config->ps = bit_reader_flag(&ahead);
}

int aac_config_parse(const uint8_t *bytes, size_t len_bytes, struct aac_config *config)
{
    struct bit_reader bits;

    *config = (struct aac_config){0};
    bit_reader_init(&bits, bytes, len_bytes);
    config->object_type = take_object_type(&bits);
    config->core_sample_rate = config->output_sample_rate = take_sample_rate(&bits);
    config->channel_configuration = (int)bit_reader_take(&bits, 4);
    if (config->object_type == AAC_SBR || config->object_type == AAC_PS) {
        config->sbr = true;
        config->ps = config->object_type == AAC_PS;
        config->output_sample_rate = take_sample_rate(&bits);
        config->object_type = take_object_type(&bits);
    }
    if (config->object_type < AAC_MAIN || config->object_type > AAC_LTP)
        return -1;
    if (config->core_sample_rate == 0 || config->output_sample_rate == 0 ||
        config->channel_configuration >= (int)sizeof channels_of)
        return -1;
    config->channels = channels_of[config->channel_configuration];
    if (config->channel_configuration != 0 && config->channels == 0)
        return -1;
    take_general_config(&bits, config);
    if (bits.overrun || config->channels > AAC_MAX_CHANNELS)
        return -1;
    if (!config->sbr)
        take_sync_extension(&bits, config);
    /* 1.6.5.2: parametric stereo makes two channels out of one. */
    if (config->ps && config->channels == 1)
        config->channels = 2;
    return 0;
}

struct bit_writer {
    uint8_t *out;
    size_t position;
};

static void put_bits(struct bit_writer *bits, uint32_t value, int count)
{
    for (int i = count - 1; i >= 0; i--, bits->position++)
        if (value >> i & 1)
            bits->out[bits->position >> 3] |= (uint8_t)(0x80 >> (bits->position & 7));
}

static void put_sample_rate(struct bit_writer *bits, int rate)
{
    int index = rate_index(rate);

    put_bits(bits, index < 0 ? EXPLICIT_RATE : (uint32_t)index, 4);
    if (index < 0)
        put_bits(bits, (uint32_t)rate, 24);
}

int aac_config_write(const struct aac_config *config, uint8_t out[AAC_MAX_CONFIG_SIZE])
{
    struct bit_writer bits = {.out = out};
    bool sbr = config->sbr || config->ps;

    if (config->object_type < AAC_MAIN || config->object_type > AAC_LTP || config->channel_configuration < 1 ||
        config->channel_configuration >= (int)sizeof channels_of || config->core_sample_rate < 1 ||
        config->core_sample_rate > MAX_SAMPLE_RATE || config->output_sample_rate < 1 ||
        config->output_sample_rate > MAX_SAMPLE_RATE)
        return -1;
    memset(out, 0, AAC_MAX_CONFIG_SIZE);
    put_bits(&bits, sbr ? (config->ps ? AAC_PS : AAC_SBR) : (uint32_t)config->object_type, 5);
    put_sample_rate(&bits, config->core_sample_rate);
    put_bits(&bits, (uint32_t)config->channel_configuration, 4);
    if (sbr) {
        put_sample_rate(&bits, config->output_sample_rate);
        put_bits(&bits, (uint32_t)config->object_type, 5);
    }
    put_bits(&bits, config->frame_samples == 960, 1);
    put_bits(&bits, 0, 2);
    return (int)((bits.position + 7) / 8);
}

void aac_codec_string(const struct aac_config *config, char out[AAC_CODEC_STRING_SIZE])
{
    int type = config->ps ? AAC_PS : config->sbr ? AAC_SBR : config->object_type;

    snprintf(out, AAC_CODEC_STRING_SIZE, "mp4a.40.%d", type & 0x3f);
}

int64_t aac_frames_duration_us(const struct aac_config *config, int64_t frames)
{
    int64_t rate = config->core_sample_rate;

    return rate > 0 ? (frames * config->frame_samples * MICROSECONDS + rate / 2) / rate : 0;
}

int aac_adts_write(const struct aac_config *config, size_t raw_len, uint8_t out[AAC_ADTS_HEADER_SIZE])
{
    int index = rate_index(config->core_sample_rate), channels = config->channel_configuration;

    if (index < 0 || config->object_type < AAC_MAIN || config->object_type > AAC_LTP || channels < 0 || channels > 7 ||
        raw_len > ADTS_MAX_FRAME - AAC_ADTS_HEADER_SIZE)
        return -1;
    uint32_t len = (uint32_t)raw_len + AAC_ADTS_HEADER_SIZE;
    out[0] = 0xff;
    out[1] = 0xf1; /* MPEG-4, no CRC */
    out[2] = (uint8_t)((config->object_type - 1) << 6 | index << 2 | channels >> 2);
    out[3] = (uint8_t)((channels & 3) << 6 | len >> 11);
    out[4] = (uint8_t)(len >> 3);
    out[5] = (uint8_t)((len & 7) << 5 | 0x1f); /* buffer fullness 0x7ff: variable rate */
    out[6] = 0xfc;                             /* one raw data block */
    return 0;
}

int aac_adts_parse(const uint8_t *bytes, size_t len_bytes, struct aac_adts *adts)
{
    *adts = (struct aac_adts){0};
    if (len_bytes < AAC_ADTS_HEADER_SIZE || bytes[0] != 0xff || (bytes[1] & 0xf6) != 0xf0)
        return -1;
    int index = bytes[2] >> 2 & 0x0f;
    if (index >= SAMPLE_RATES)
        return -1;
    adts->object_type = (bytes[2] >> 6) + 1;
    adts->sample_rate = sample_rates[index];
    adts->channel_configuration = (bytes[2] & 1) << 2 | bytes[3] >> 6;
    adts->header_len = bytes[1] & 1 ? AAC_ADTS_HEADER_SIZE : AAC_ADTS_HEADER_SIZE + 2;
    adts->frame_len = (bytes[3] & 3) << 11 | bytes[4] << 3 | bytes[5] >> 5;
    adts->blocks = (bytes[6] & 3) + 1;
    return adts->frame_len >= adts->header_len ? 0 : -1;
}

void aac_adts_config(const struct aac_adts *adts, struct aac_config *config)
{
    *config = (struct aac_config){.object_type = adts->object_type,
                                  .core_sample_rate = adts->sample_rate,
                                  .output_sample_rate = adts->sample_rate,
                                  .channel_configuration = adts->channel_configuration,
                                  .channels = channels_of[adts->channel_configuration & 7],
                                  .frame_samples = 1024};
}
