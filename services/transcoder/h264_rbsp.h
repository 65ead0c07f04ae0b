/* What h264_sps.c and h264.c share: the payload of a NAL unit. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Copies without emulation prevention bytes (14496-10, 7.4.1), at most `max_bytes`. Returns the bytes written. */
size_t h264_unescape(const uint8_t *nal, size_t len_bytes, uint8_t *out, size_t max_bytes);
