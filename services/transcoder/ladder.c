/* See ladder.h. */
#include "services/transcoder/ladder.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MIN_BITRATE_KBPS = 50,
    MAX_BITRATE_KBPS = 100000,
    DEFAULT_RATE = 30,
    /* A source smaller than a rung by this part of it still counts as that rung. */
    NEARLY = 16,
};

static const char *skip_blanks(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

/* A positive decimal below ten million; NULL when there is none. */
static const char *take_number(const char *at, int *number)
{
    int digits = 0;

    *number = 0;
    while (isdigit((unsigned char)*at) && digits++ < 7)
        *number = *number * 10 + (*at++ - '0');
    return digits > 0 && !isdigit((unsigned char)*at) ? at : NULL;
}

/* "720p : 2500"; returns what follows, or NULL. */
static const char *take_rung(const char *at, struct ladder_rung *rung)
{
    at = take_number(skip_blanks(at), &rung->short_side);
    if (!at || *at != 'p')
        return NULL;
    at = skip_blanks(at + 1);
    if (*at != ':')
        return NULL;
    at = take_number(skip_blanks(at + 1), &rung->bitrate_kbps);
    if (!at || rung->short_side < LADDER_MIN_SIDE || rung->short_side > LADDER_MAX_SIDE || rung->short_side % 2 != 0 ||
        rung->bitrate_kbps < MIN_BITRATE_KBPS || rung->bitrate_kbps > MAX_BITRATE_KBPS)
        return NULL;
    snprintf(rung->name, sizeof rung->name, "%dp", rung->short_side);
    return skip_blanks(at);
}

static int compare_rungs(const void *left, const void *right)
{
    const struct ladder_rung *a = left, *b = right;

    return b->short_side - a->short_side;
}

int ladder_parse(const char *text, struct ladder *ladder)
{
    const char *at = text;

    *ladder = (struct ladder){0};
    do {
        if (ladder->count == LADDER_MAX_RUNGS)
            return -1;
        at = take_rung(at, &ladder->rungs[ladder->count]);
        if (!at)
            return -1;
        ladder->count++;
    } while (*at++ == ',');
    if (at[-1] != '\0')
        return -1;
    qsort(ladder->rungs, (size_t)ladder->count, sizeof *ladder->rungs, compare_rungs);
    for (int i = 1; i < ladder->count; i++)
        if (ladder->rungs[i].short_side == ladder->rungs[i - 1].short_side)
            return -1;
    return 0;
}

/* value * numerator / denominator to the nearest even number, at least 2. */
static int scale_even(int value, int numerator, int denominator)
{
    long long scaled = (long long)value * numerator;
    int even = (int)((scaled + denominator) / (2LL * denominator)) * 2;

    return even < 2 ? 2 : even;
}

static int even_below(int side)
{
    return side - side % 2;
}

static struct ladder_rate plan_rate(struct ladder_rate source, int max_rate)
{
    struct ladder_rate rate = source;

    if (rate.num <= 0 || rate.den <= 0)
        rate = (struct ladder_rate){DEFAULT_RATE, 1};
    /* 30000/1001 under a cap of 30 and 60.02 under one of 60 are what the cap means. */
    double frames = (double)rate.num / rate.den;
    int divisor = 1;
    while (max_rate > 0 && frames / divisor > max_rate * 1.01)
        divisor++;
    if ((long long)rate.den * divisor <= 1 << 30)
        rate.den *= divisor;
    return rate;
}

static void plan_at_source_size(struct ladder_rendition *rendition, int width, int height)
{
    rendition->width = even_below(width);
    rendition->height = even_below(height);
}

/* For a source below every rung. */
static void plan_tiny(const struct ladder_rung *smallest, int width, int height, struct ladder_rendition *rendition)
{
    plan_at_source_size(rendition, width, height);
    int short_side = rendition->width < rendition->height ? rendition->width : rendition->height;
    double area = (double)short_side * short_side / ((double)smallest->short_side * smallest->short_side);

    rendition->bitrate_kbps = (int)(smallest->bitrate_kbps * area);
    if (rendition->bitrate_kbps < MIN_BITRATE_KBPS)
        rendition->bitrate_kbps = MIN_BITRATE_KBPS;
    snprintf(rendition->name, sizeof rendition->name, "%dp", short_side);
}

int ladder_plan(const struct ladder *ladder, int width, int height, struct ladder_rate source_rate, int max_rate,
                struct ladder_plan *plan)
{
    int short_side = width < height ? width : height, long_side = width < height ? height : width;

    *plan = (struct ladder_plan){.rate = plan_rate(source_rate, max_rate)};
    if (short_side < 2 || long_side > LADDER_MAX_SIDE)
        return -1;
    for (int i = 0; i < ladder->count; i++) {
        const struct ladder_rung *rung = &ladder->rungs[i];
        struct ladder_rendition *rendition = &plan->renditions[plan->count];
        if (short_side < rung->short_side - rung->short_side / NEARLY)
            continue;
        memcpy(rendition->name, rung->name, sizeof rung->name);
        rendition->bitrate_kbps = rung->bitrate_kbps;
        if (short_side <= rung->short_side) {
            plan_at_source_size(rendition, width, height);
        } else {
            rendition->width = width <= height ? rung->short_side : scale_even(width, rung->short_side, height);
            rendition->height = width <= height ? scale_even(height, rung->short_side, width) : rung->short_side;
        }
        plan->count++;
    }
    if (plan->count == 0) {
        plan_tiny(&ladder->rungs[ladder->count - 1], width, height, &plan->renditions[0]);
        plan->count = 1;
    }
    return 0;
}

struct ladder_rectangle ladder_letterbox(int source_width, int source_height, int width, int height)
{
    struct ladder_rectangle inside = {.width = even_below(width), .height = even_below(height)};

    if ((long long)source_width * height > (long long)width * source_height)
        inside.height = scale_even(source_height, width, source_width);
    else
        inside.width = scale_even(source_width, height, source_height);
    /* Rounding up to even must not lead out of the picture. */
    if (inside.width > width)
        inside.width = even_below(width);
    if (inside.height > height)
        inside.height = even_below(height);
    inside.x = even_below((width - inside.width) / 2);
    inside.y = even_below((height - inside.height) / 2);
    return inside;
}
