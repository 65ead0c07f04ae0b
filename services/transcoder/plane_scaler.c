/* A row becomes its neighbour's mix first (libyuv does that with wide vectors), then eight pixels at a time are
 * gathered by a byte shuffle that was worked out once for the two widths. */
#include "services/transcoder/plane_scaler.h"

#include "libcommon/alloc.h"

#include <libyuv/planar_functions.h>

#define BLOCK      8  /* pixels made at a time */
#define REACH      16 /* bytes that a shuffle sees: enough for factors below 2 */
#define ONE        32768
#define NO_SHUFFLE 0x80 /* gives 0: the high byte of a 16-bit lane */

struct block {
    uint8_t left[REACH], right[REACH]; /* the two pixels that each of the eight lies between, as 16-bit lanes */
    int16_t weight[BLOCK];             /* of the right one, in 1/32768 */
    int from;                          /* first byte read */
};

struct plane_scaler {
    int from_width, to_width, blocks_count;
    uint8_t *row; /* two rows mixed */
    struct block blocks[];
};

#ifdef __x86_64__
#include <tmmintrin.h>

static int is_supported(void)
{
    return __builtin_cpu_supports("ssse3");
}

__attribute__((target("ssse3"))) static void scale_row(const struct plane_scaler *scaler, const uint8_t *from,
                                                       uint8_t *to)
{
    for (int i = 0; i < scaler->blocks_count; i++) {
        const struct block *block = &scaler->blocks[i];
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(from + block->from));
        const __m128i left = _mm_shuffle_epi8(bytes, _mm_loadu_si128((const __m128i *)block->left));
        const __m128i right = _mm_shuffle_epi8(bytes, _mm_loadu_si128((const __m128i *)block->right));
        const __m128i weight = _mm_loadu_si128((const __m128i *)block->weight);
        const __m128i mixed = _mm_add_epi16(left, _mm_mulhrs_epi16(_mm_sub_epi16(right, left), weight));
        uint8_t eight[REACH];

        if ((i + 1) * BLOCK <= scaler->to_width) {
            _mm_storel_epi64((__m128i *)(to + i * BLOCK), _mm_packus_epi16(mixed, mixed));
        } else {
            _mm_storeu_si128((__m128i *)eight, _mm_packus_epi16(mixed, mixed));
            memcpy(to + i * BLOCK, eight, (size_t)(scaler->to_width - i * BLOCK));
        }
    }
}
#else
static int is_supported(void)
{
    return 0;
}

static void scale_row(const struct plane_scaler *scaler, const uint8_t *from, uint8_t *to)
{
}
#endif

/* Where pixel `i` of `to` lies on a line of `from` pixels, in 1/65536, centre over centre. */
static int64_t position(int i, int from, int to)
{
    const int64_t at = ((2 * (int64_t)i + 1) * from * 65536 / to - 65536) / 2;
    const int64_t last = (int64_t)(from - 1) * 65536;

    return at < 0 ? 0 : at > last ? last : at;
}

static void fill_block(struct plane_scaler *scaler, int index)
{
    struct block *block = &scaler->blocks[index];

    for (int i = 0; i < BLOCK; i++) {
        const int x = index * BLOCK + i < scaler->to_width ? index * BLOCK + i : scaler->to_width - 1;
        const int64_t at = position(x, scaler->from_width, scaler->to_width);
        int left = (int)(at >> 16);
        int64_t weight = (at & 0xffff) / (65536 / ONE);

        if (left == scaler->from_width - 1) { /* the last pixel has no right neighbour */
            left--;
            weight = ONE - 1;
        }
        if (i == 0)
            block->from = left <= scaler->from_width - REACH ? left : scaler->from_width - REACH;
        block->left[2 * i] = (uint8_t)(left - block->from);
        block->right[2 * i] = (uint8_t)(left - block->from + 1);
        block->left[2 * i + 1] = block->right[2 * i + 1] = NO_SHUFFLE;
        block->weight[i] = (int16_t)weight;
    }
}

struct plane_scaler *plane_scaler_create(int from_width, int to_width)
{
    const int blocks_count = (to_width + BLOCK - 1) / BLOCK;

    if (!is_supported() || from_width < REACH || to_width >= from_width || from_width >= 2 * to_width)
        return NULL;
    struct plane_scaler *scaler = alloc_zero(1, sizeof(*scaler) + sizeof(struct block) * (size_t)blocks_count);

    scaler->from_width = from_width;
    scaler->to_width = to_width;
    scaler->blocks_count = blocks_count;
    scaler->row = alloc_zero((size_t)from_width, 1);
    for (int i = 0; i < blocks_count; i++)
        fill_block(scaler, i);
    return scaler;
}

void plane_scaler_destroy(struct plane_scaler *scaler)
{
    if (!scaler)
        return;
    free(scaler->row);
    free(scaler);
}

int plane_scaler_fits(const struct plane_scaler *scaler, int from_width, int to_width)
{
    return scaler && scaler->from_width == from_width && scaler->to_width == to_width;
}

void plane_scaler_run(struct plane_scaler *scaler, const uint8_t *from, int from_stride, int from_height, uint8_t *to,
                      int to_stride, int to_height)
{
    for (int y = 0; y < to_height; y++) {
        const int64_t at = position(y, from_height, to_height);
        const uint8_t *above = from + (at >> 16) * from_stride;
        const int weight = (int)((at & 0xffff) >> 8);

        if (weight > 0)
            InterpolatePlane(above, 0, above + from_stride, 0, scaler->row, 0, scaler->from_width, 1, weight);
        scale_row(scaler, weight > 0 ? scaler->row : above, to + (int64_t)y * to_stride);
    }
}
