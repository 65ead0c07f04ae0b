/* libav decodes, libyuv scales (video_scaler.c), x264 encodes.
 *
 * x264's options: no scene cut and an endless GOP, because IDR frames belong at segment boundaries only; no B-frames,
 * so that DTS equals PTS and two encoders' segments join without a seam after a takeover; a short look-ahead instead of
 * tune=zerolatency, whose sliced threads and missing look-ahead cost quality that a 2 s segment has no use for. CABAC
 * and 8x8 transforms always, so that profile and level stay when the preset becomes faster under load. One thread per
 * rung: the rungs run side by side as it is. */
#include "services/transcoder/backend.h"

#include <stdio.h>

static bool is_available(void)
{
    return backend_has_element("avdec_h264") && backend_has_element("x264enc");
}

static const char *describe_decoder(void)
{
    /* max-threads=1: frame threads would hold back a frame each. videoconvert passes I420 through untouched. */
    return "avdec_h264 max-threads=1 max-errors=-1 output-corrupt=true ! videoconvert ! video/x-raw,format=I420";
}

static void describe_encoder(const struct backend_video *video, char out[BACKEND_DESCRIPTION_SIZE])
{
    snprintf(out, BACKEND_DESCRIPTION_SIZE,
             "x264enc speed-preset=%s bitrate=%d vbv-buf-capacity=1000 bframes=0 key-int-max=1073741823 "
             "rc-lookahead=%d sync-lookahead=0 sliced-threads=false threads=%d cabac=true dct8x8=true "
             "byte-stream=true option-string=scenecut=0:open-gop=0:weightp=%d ! "
             "video/x-h264,stream-format=byte-stream,alignment=au,profile=high",
             video->preset, video->bitrate_kbps, video->lookahead, video->threads, video->lookahead > 0 ? 1 : 0);
}

static void describe_thumbnail(int width, int height, char out[BACKEND_DESCRIPTION_SIZE])
{
    snprintf(out, BACKEND_DESCRIPTION_SIZE,
             "videoscale ! video/x-raw,width=%d,height=%d,pixel-aspect-ratio=1/1 ! jpegenc quality=80", width, height);
}

const struct backend backend_cpu = {
    .name = "cpu",
    .scales_itself = false,
    .is_available = is_available,
    .describe_decoder = describe_decoder,
    .describe_encoder = describe_encoder,
    .describe_thumbnail = describe_thumbnail,
};
