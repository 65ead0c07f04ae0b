/* The same bytes as an AudioSpecificConfig and as an ADTS header; what is understood is written and read back. */
#include "services/transcoder/aac.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(const uint8_t *data, size_t size)
{
    struct aac_config config, again;
    uint8_t written[AAC_MAX_CONFIG_SIZE], header[AAC_ADTS_HEADER_SIZE];
    char codec[AAC_CODEC_STRING_SIZE];
    struct aac_adts adts;

    if (aac_config_parse(data, size, &config) < 0)
        return;
    assert(config.core_sample_rate > 0 && config.output_sample_rate > 0 && config.channels >= 0);
    assert(aac_frames_duration_us(&config, 1) >= 0);
    aac_codec_string(&config, codec);
    int len = aac_config_write(&config, written);
    assert(len <= AAC_MAX_CONFIG_SIZE);
    if (len > 0) {
        assert(aac_config_parse(written, (size_t)len, &again) == 0);
        assert(again.core_sample_rate == config.core_sample_rate && again.channels == config.channels);
        assert(again.object_type == config.object_type && again.sbr == (config.sbr || config.ps));
    }
    if (aac_adts_write(&config, size, header) == 0) {
        assert(aac_adts_parse(header, sizeof header, &adts) == 0);
        assert((size_t)adts.frame_len == size + AAC_ADTS_HEADER_SIZE);
        assert(adts.sample_rate == config.core_sample_rate);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct aac_config config;
    struct aac_adts adts;

    check_config(data, size);
    if (aac_adts_parse(data, size, &adts) == 0) {
        assert(adts.frame_len >= adts.header_len && adts.blocks >= 1 && adts.blocks <= 4 && adts.sample_rate > 0);
        aac_adts_config(&adts, &config);
    }
    return 0;
}
