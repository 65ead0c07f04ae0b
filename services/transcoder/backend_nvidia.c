/* NVDEC, CUDA and NVENC: a picture never leaves the GPU's memory. nvcodec registers its elements only where the driver
 * finds a GPU that has the engine, so "available" is asked of the registry. cudascale keeps the picture's shape with
 * borders after a change of size in mid-stream. */
#include "services/transcoder/backend.h"

#include <stdio.h>

static bool is_available(void)
{
    return backend_has_element("nvh264dec") && backend_has_element("cudascale") && backend_has_element("nvh264enc");
}

static const char *describe_decoder(void)
{
    return "h264parse ! nvh264dec ! video/x-raw(memory:CUDAMemory),format=NV12";
}

static void describe_encoder(const struct backend_video *video, char out[BACKEND_DESCRIPTION_SIZE])
{
    snprintf(out, BACKEND_DESCRIPTION_SIZE,
             "cudascale add-borders=true ! "
             "video/x-raw(memory:CUDAMemory),format=NV12,width=%d,height=%d,pixel-aspect-ratio=1/1 ! "
             "nvh264enc preset=low-latency-hq rc-mode=cbr bitrate=%d max-bitrate=%d vbv-buffer-size=%d gop-size=-1 "
             "bframes=0 zerolatency=true strict-gop=true ! "
             "video/x-h264,stream-format=byte-stream,alignment=au,profile=high",
             video->width, video->height, video->bitrate_kbps, video->bitrate_kbps, video->bitrate_kbps);
}

static void describe_thumbnail(int width, int height, char out[BACKEND_DESCRIPTION_SIZE])
{
    snprintf(out, BACKEND_DESCRIPTION_SIZE,
             "cudascale ! video/x-raw(memory:CUDAMemory),width=%d,height=%d,pixel-aspect-ratio=1/1 ! cudadownload ! "
             "videoconvert ! jpegenc quality=80",
             width, height);
}

const struct backend backend_nvidia = {
    .name = "nvidia",
    .scales_itself = true,
    .is_available = is_available,
    .describe_decoder = describe_decoder,
    .describe_encoder = describe_encoder,
    .describe_thumbnail = describe_thumbnail,
};
