/* First byte: what the rest is. 0-3: an AVCC access unit with lengths of 1-4 bytes; 4: an Annex B one; 5: an SPS; else
 * an AVCDecoderConfigurationRecord, whose parameter sets must survive the way through Annex B. */
#include "services/transcoder/h264.h"

#include "libcommon/buffer.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_access_unit(int kind, const uint8_t *data, size_t size)
{
    static const struct h264_config config = {.parameter_sets_len = 4, .parameter_sets = {0, 0, 1, 0x67}};
    struct h264_access_unit unit, converted;
    struct buffer out;

    buffer_init(&out, 1 << 20);
    if (kind == 4) {
        (void)!h264_access_unit_complete(data, size, &config, &out);
    } else if (h264_avcc_to_annexb(data, size, kind + 1, &config, &out) == 0) {
        assert(h264_access_unit_inspect_avcc(data, size, kind + 1, &unit) == 0);
        h264_access_unit_inspect(out.data, out.len, &converted);
        assert(!unit.is_idr || (converted.nal_count > 1 && converted.has_sps));
    }
    buffer_clear(&out);
}

static void check_sps(const uint8_t *data, size_t size)
{
    struct h264_sps sps;
    char codec[H264_CODEC_STRING_SIZE];
    int width, height;

    if (h264_sps_parse(data, size, &sps) < 0)
        return;
    assert(sps.width > 0 && sps.width <= 16384 && sps.height > 0 && sps.height <= 16384);
    assert(sps.sar_width > 0 && sps.sar_height > 0 && sps.rate_den > 0 && sps.num_reorder_frames <= 16);
    h264_sps_display_size(&sps, &width, &height);
    assert(width > 0 && height == sps.height);
    h264_codec_string(&sps, codec);
}

static void check_config(const uint8_t *data, size_t size)
{
    struct h264_config config, again;

    if (h264_config_parse(data, size, &config) < 0)
        return;
    assert(config.parameter_sets_len <= sizeof config.parameter_sets);
    if (h264_config_from_annexb(config.parameter_sets, config.parameter_sets_len, &again) == 0)
        assert(again.parameter_sets_len <= sizeof again.parameter_sets);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] <= 4)
        check_access_unit(data[0], data + 1, size - 1);
    else if (data[0] == 5)
        check_sps(data + 1, size - 1);
    else
        check_config(data + 1, size - 1);
    return 0;
}
