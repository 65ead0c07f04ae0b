/* One decoded I420 picture -> the pictures of all rungs, each made from the next larger one that is there already
 * (cascade), with libyuv. A source of another shape than the ladder's is letterboxed, so the ladder's sizes never
 * change. Loop thread only. */
#pragma once

#include "services/transcoder/output_plan.h"

#include <gst/gst.h>

struct video_scaler;

struct video_scaler *video_scaler_create(const struct output_plan *plan);
void video_scaler_destroy(struct video_scaler *scaler);
/* `out[i]` for each rendition of the plan that is encoded: a reference of the caller's; may be the decoded buffer
 * itself. `display_width`, `display_height`: shape in which the picture is to be shown. 0, or -1: not an I420 picture.
 */
int video_scaler_run(struct video_scaler *scaler, GstSample *sample, int display_width, int display_height,
                     GstBuffer *out[SEGMENT_MAX_RENDITIONS]) __attribute__((warn_unused_result));
/* A black picture for every rendition. */
void video_scaler_black(struct video_scaler *scaler, GstBuffer *out[SEGMENT_MAX_RENDITIONS]);
