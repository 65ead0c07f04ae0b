/* What decodes, scales and encodes: the CPU or a GPU. A backend is a few descriptions of GStreamer elements; everything
 * else is the same for all. Any thread after gst_init(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define BACKEND_DESCRIPTION_SIZE 1024

struct backend_video {
    int width, height;
    int bitrate_kbps;
    int rate_num, rate_den; /* frames per second */
    const char *preset;     /* x264's name for speed against quality */
    int lookahead;          /* frames the encoder may hold back */
    int threads;
};

struct backend {
    const char *name;
    /* Frames stay in the GPU's memory and every encoder scales for itself; else they are I420 in ours and
     * video_scaler.h does it. */
    bool scales_itself;
    bool (*is_available)(void);
    const char *(*describe_decoder)(void);
    void (*describe_encoder)(const struct backend_video *video, char out[BACKEND_DESCRIPTION_SIZE]);
    /* A frame as the decoder gives it -> JPEG of this size. */
    void (*describe_thumbnail)(int width, int height, char out[BACKEND_DESCRIPTION_SIZE]);
};

extern const struct backend backend_cpu;
extern const struct backend backend_nvidia;

/* `name`: "cpu", "nvidia", or "auto": the first that is available, the GPU before the CPU. NULL: it is not available.
 */
const struct backend *backend_choose(const char *name);
/* Whether GStreamer has an element of this name. */
bool backend_has_element(const char *element);
