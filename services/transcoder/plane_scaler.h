/* Makes a plane smaller by a factor between 1 and 2, each way, like libyuv's bilinear filter with its rounding, but
 * several times as fast: libyuv computes two pixels of a row at a time there, and has vectors for simple fractions
 * only. Where the CPU or the sizes do not fit there is none, and the caller uses libyuv. Loop thread only. */
#pragma once

#include <stdint.h>

struct plane_scaler;

/* For planes of these widths. NULL: use libyuv. */
struct plane_scaler *plane_scaler_create(int from_width, int to_width);
void plane_scaler_destroy(struct plane_scaler *scaler);
/* Whether it was made for these widths; NULL was made for none. */
int plane_scaler_fits(const struct plane_scaler *scaler, int from_width, int to_width);
/* `to_height` <= `from_height` < 2 * `to_height`. Planes do not overlap. */
void plane_scaler_run(struct plane_scaler *scaler, const uint8_t *from, int from_stride, int from_height, uint8_t *to,
                      int to_stride, int to_height);
