/* Each rung keeps a pool of buffers: fresh memory for every picture would cost more in page faults than the scaling. */
#include "services/transcoder/video_scaler.h"

#include "libcommon/alloc.h"
#include "services/transcoder/ladder.h"
#include "services/transcoder/plane_scaler.h"

#include <gst/video/video.h>
#include <libyuv/planar_functions.h>
#include <libyuv/scale.h>

struct video_scaler {
    const struct output_plan *plan;
    GstBufferPool *pools[SEGMENT_MAX_RENDITIONS];
    GstVideoInfo infos[SEGMENT_MAX_RENDITIONS];
    struct {
        struct plane_scaler *luma, *chroma; /* for the sizes of the last picture; may be NULL */
    } planes[SEGMENT_MAX_RENDITIONS];
};

struct video_scaler *video_scaler_create(const struct output_plan *plan)
{
    struct video_scaler *scaler = alloc_zero(1, sizeof(*scaler));

    scaler->plan = plan;
    for (int i = 0; i < plan->count; i++) {
        const struct output_rendition *r = &plan->renditions[i];

        if (r->pass_through)
            continue;
        gst_video_info_set_format(&scaler->infos[i], GST_VIDEO_FORMAT_I420, (guint)r->width, (guint)r->height);
        GstCaps *caps = gst_video_info_to_caps(&scaler->infos[i]);
        scaler->pools[i] = gst_video_buffer_pool_new();
        GstStructure *config = gst_buffer_pool_get_config(scaler->pools[i]);
        gst_buffer_pool_config_set_params(config, caps, (guint)scaler->infos[i].size, 0, 0);
        gst_buffer_pool_set_config(scaler->pools[i], config);
        gst_buffer_pool_set_active(scaler->pools[i], TRUE);
        gst_caps_unref(caps);
    }
    return scaler;
}

void video_scaler_destroy(struct video_scaler *scaler)
{
    if (!scaler)
        return;
    for (int i = 0; i < scaler->plan->count; i++) {
        plane_scaler_destroy(scaler->planes[i].luma);
        plane_scaler_destroy(scaler->planes[i].chroma);
        if (scaler->pools[i]) {
            gst_buffer_pool_set_active(scaler->pools[i], FALSE);
            gst_object_unref(scaler->pools[i]);
        }
    }
    free(scaler);
}

static GstBuffer *new_picture(struct video_scaler *scaler, int i, GstVideoFrame *frame)
{
    GstBuffer *buffer = NULL;

    if (gst_buffer_pool_acquire_buffer(scaler->pools[i], &buffer, NULL) != GST_FLOW_OK)
        abort(); /* the pool has no limit: memory is out */
    if (!gst_video_frame_map(frame, &scaler->infos[i], buffer, GST_MAP_WRITE))
        abort();
    return buffer;
}

#define PLANE(frame, i)  ((uint8_t *)GST_VIDEO_FRAME_PLANE_DATA(frame, i))
#define STRIDE(frame, i) GST_VIDEO_FRAME_PLANE_STRIDE(frame, i)

static void fill_black(GstVideoFrame *to)
{
    I420Rect(PLANE(to, 0), STRIDE(to, 0), PLANE(to, 1), STRIDE(to, 1), PLANE(to, 2), STRIDE(to, 2), 0, 0,
             GST_VIDEO_FRAME_WIDTH(to), GST_VIDEO_FRAME_HEIGHT(to), 16, 128, 128);
}

/* The scaler for these widths, made when they have changed; NULL: there is none. */
static struct plane_scaler *plane_scaler_for(struct plane_scaler **scaler, int from_width, int to_width)
{
    if (!plane_scaler_fits(*scaler, from_width, to_width)) {
        plane_scaler_destroy(*scaler);
        *scaler = plane_scaler_create(from_width, to_width);
    }
    return *scaler;
}

static bool is_slightly_smaller(int to, int from)
{
    return to <= from && from < 2 * to;
}

/* The downscale by 3/2 and the like: false when it is none. */
static bool scale_a_little(struct video_scaler *scaler, int i, GstVideoFrame *from, GstVideoFrame *to,
                           const struct ladder_rectangle *at)
{
    const int width = GST_VIDEO_FRAME_WIDTH(from), height = GST_VIDEO_FRAME_HEIGHT(from);
    const int chroma_height = (height + 1) / 2, at_chroma_height = (at->height + 1) / 2;
    struct plane_scaler *luma = plane_scaler_for(&scaler->planes[i].luma, width, at->width);
    struct plane_scaler *chroma = plane_scaler_for(&scaler->planes[i].chroma, (width + 1) / 2, (at->width + 1) / 2);

    if (!luma || !chroma || !is_slightly_smaller(at->height, height) ||
        !is_slightly_smaller(at_chroma_height, chroma_height))
        return false;
    plane_scaler_run(luma, PLANE(from, 0), STRIDE(from, 0), height, PLANE(to, 0) + at->y * STRIDE(to, 0) + at->x,
                     STRIDE(to, 0), at->height);
    for (int p = 1; p <= 2; p++)
        plane_scaler_run(chroma, PLANE(from, p), STRIDE(from, p), chroma_height,
                         PLANE(to, p) + at->y / 2 * STRIDE(to, p) + at->x / 2, STRIDE(to, p), at_chroma_height);
    return true;
}

static void scale(GstVideoFrame *from, GstVideoFrame *to, const struct ladder_rectangle *at)
{
    const int luma = at->y * STRIDE(to, 0) + at->x;
    const int chroma = at->y / 2 * STRIDE(to, 1) + at->x / 2;

    I420Scale(PLANE(from, 0), STRIDE(from, 0), PLANE(from, 1), STRIDE(from, 1), PLANE(from, 2), STRIDE(from, 2),
              GST_VIDEO_FRAME_WIDTH(from), GST_VIDEO_FRAME_HEIGHT(from), PLANE(to, 0) + luma, STRIDE(to, 0),
              PLANE(to, 1) + chroma, STRIDE(to, 1), PLANE(to, 2) + chroma, STRIDE(to, 2), at->width, at->height,
              kFilterBox);
}

/* The picture to make a rung from: one of exactly twice its size if there is one (libyuv has a path of its own for
 * that, several times as fast), else the smallest of the larger ones. */
static GstVideoFrame *choose_parent(GstVideoFrame *const made[], int count, const struct output_rendition *r)
{
    for (int i = 0; i < count; i++)
        if (made[i] && GST_VIDEO_FRAME_WIDTH(made[i]) == 2 * r->width &&
            GST_VIDEO_FRAME_HEIGHT(made[i]) == 2 * r->height)
            return made[i];
    for (int i = count - 1; i >= 0; i--)
        if (made[i])
            return made[i];
    return NULL;
}

int video_scaler_run(struct video_scaler *scaler, GstSample *sample, int display_width, int display_height,
                     GstBuffer *out[SEGMENT_MAX_RENDITIONS])
{
    GstVideoFrame frames[SEGMENT_MAX_RENDITIONS], source, *made[SEGMENT_MAX_RENDITIONS] = {NULL};
    GstVideoInfo info;

    if (!gst_video_info_from_caps(&info, gst_sample_get_caps(sample)) ||
        GST_VIDEO_INFO_FORMAT(&info) != GST_VIDEO_FORMAT_I420 ||
        !gst_video_frame_map(&source, &info, gst_sample_get_buffer(sample), GST_MAP_READ))
        return -1;
    for (int i = 0; i < scaler->plan->count; i++) {
        const struct output_rendition *r = &scaler->plan->renditions[i];
        struct ladder_rectangle at = {0, 0, r->width, r->height};

        if (r->pass_through)
            continue;
        GstVideoFrame *from = choose_parent(made, i, r);
        if (!from) {
            from = &source;
            at = ladder_letterbox(display_width, display_height, r->width, r->height);
        }
        const bool fills = at.width == r->width && at.height == r->height;
        if (from == &source && fills && info.width == r->width && info.height == r->height) {
            out[i] = gst_buffer_ref(gst_sample_get_buffer(sample));
            made[i] = &source;
            continue;
        }
        out[i] = new_picture(scaler, i, &frames[i]);
        made[i] = &frames[i];
        if (!fills)
            fill_black(&frames[i]);
        if (!scale_a_little(scaler, i, from, &frames[i], &at))
            scale(from, &frames[i], &at);
    }
    for (int i = 0; i < scaler->plan->count; i++)
        if (made[i] && made[i] != &source)
            gst_video_frame_unmap(made[i]);
    gst_video_frame_unmap(&source);
    return 0;
}

void video_scaler_black(struct video_scaler *scaler, GstBuffer *out[SEGMENT_MAX_RENDITIONS])
{
    for (int i = 0; i < scaler->plan->count; i++) {
        GstVideoFrame frame;

        if (scaler->plan->renditions[i].pass_through)
            continue;
        out[i] = new_picture(scaler, i, &frame);
        fill_black(&frame);
        gst_video_frame_unmap(&frame);
    }
}
