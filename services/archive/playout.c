#include "playout.h"

#include "proto/hls_text.h"

#include <stdio.h>
#include <string.h>

#define SAME_RUNG 1.12 /* 720 and 718 lines are one rung */

static int64_t round_us(const struct playout *playout)
{
    return playout->starts_us[playout->items_count];
}

static int64_t round_segments(const struct playout *playout)
{
    return playout->firsts[playout->items_count];
}

/* --- variants --- */

static void take_rung(struct playout *playout, int rung)
{
    int at = 0;

    while (at < playout->variants_count && playout->variants[at].rung > rung)
        at++;
    if (at < playout->variants_count && playout->variants[at].rung == rung)
        return;
    if (at == PLAYOUT_MAX_VARIANTS)
        return;
    if (playout->variants_count == PLAYOUT_MAX_VARIANTS)
        playout->variants_count--;
    memmove(&playout->variants[at + 1], &playout->variants[at],
            (size_t)(playout->variants_count - at) * sizeof(playout->variants[0]));
    playout->variants[at].rung = rung;
    playout->variants_count++;
}

static void drop_near_rungs(struct playout *playout)
{
    int kept = 1;

    for (int i = 1; i < playout->variants_count; i++) {
        const int above = playout->variants[kept - 1].rung, rung = playout->variants[i].rung;

        /* Sound alone only where nothing has a picture. */
        if (rung > 0 && above > rung * SAME_RUNG)
            playout->variants[kept++] = playout->variants[i];
    }
    playout->variants_count = kept;
}

static bool has_audio(const struct playout_rendition *rendition)
{
    return strstr(rendition->codecs, "mp4a") != NULL;
}

/* BANDWIDTH has to hold for every item, and so do picture size and codecs: those of the most demanding one. */
static void describe(struct playout *playout, struct playout_variant *variant)
{
    struct playout_rendition *shown = &variant->shown;
    double bits = 0;

    if (variant->rung > 0)
        snprintf(variant->name, sizeof(variant->name), "%dp", variant->rung);
    else
        snprintf(variant->name, sizeof(variant->name), "audio");
    for (int i = 0; i < playout->items_count; i++) {
        const struct playout_item *item = playout->items[i];
        const struct playout_rendition *own = &item->renditions[playout_item_nearest(item, UINT8_MAX, variant->rung)];
        int64_t pixels = (int64_t)own->width * own->height, most = (int64_t)shown->width * shown->height;

        if (i == 0 || pixels > most || (pixels == most && has_audio(own) && !has_audio(shown))) {
            memcpy(shown->codecs, own->codecs, sizeof(shown->codecs));
            shown->width = own->width;
            shown->height = own->height;
        }
        shown->frame_rate = own->frame_rate > shown->frame_rate ? own->frame_rate : shown->frame_rate;
        shown->peak_bps = own->peak_bps > shown->peak_bps ? own->peak_bps : shown->peak_bps;
        bits += (double)own->average_bps * (double)item->duration_us;
    }
    shown->average_bps = (int64_t)(bits / (double)round_us(playout));
    if (shown->peak_bps < shown->average_bps)
        shown->peak_bps = shown->average_bps;
    if (shown->peak_bps < 1)
        shown->peak_bps = 1;
}

void playout_init(struct playout *playout, const struct playout_item *const *items, int items_count, int64_t start_ms,
                  bool loop)
{
    int64_t longest_us = SEGMENT_TARGET_DURATION_S * 1000000LL;

    memset(playout, 0, sizeof(*playout));
    playout->start_ms = start_ms;
    playout->loop = loop;
    playout->items_count = items_count;
    for (int i = 0; i < items_count; i++) {
        playout->items[i] = items[i];
        playout->starts_us[i + 1] = playout->starts_us[i] + items[i]->duration_us;
        playout->firsts[i + 1] = playout->firsts[i] + (int64_t)items[i]->segments_count;
        playout->discontinuities[i + 1] = playout->discontinuities[i] + items[i]->discontinuities;
        longest_us = items[i]->longest_us > longest_us ? items[i]->longest_us : longest_us;
        for (int r = 0; r < items[i]->renditions_count; r++)
            take_rung(playout, playout_rung(&items[i]->renditions[r]));
    }
    playout->target_s = (int)((longest_us + 500000) / 1000000);
    drop_near_rungs(playout);
    for (int i = 0; i < playout->variants_count; i++)
        describe(playout, &playout->variants[i]);
}

int playout_find_variant(const struct playout *playout, const char *name)
{
    for (int i = 0; i < playout->variants_count; i++)
        if (strcmp(playout->variants[i].name, name) == 0)
            return i;
    return -1;
}

/* --- time --- */

struct place {
    const struct playout_item *item;
    size_t segment;
    int64_t start_us;        /* position */
    int64_t discontinuities; /* in front of the segment, since the channel began; its very first one is none */
    bool discontinuity;
};

/* Which item holds `value`, by its cumulated sums. */
static int find_item(const int64_t *sums, int count, int64_t value)
{
    int item = 0;

    while (item + 1 < count && sums[item + 1] <= value)
        item++;
    return item;
}

static struct place place_of(const struct playout *playout, int64_t number)
{
    int64_t round = number / round_segments(playout), local = number % round_segments(playout);
    int i = find_item(playout->firsts, playout->items_count, local);
    const struct playout_item *item = playout->items[i];
    size_t index = (size_t)(local - playout->firsts[i]);
    const struct playout_segment *segment = &item->segments[index];
    struct place place = {.item = item, .segment = index};

    place.start_us = round * round_us(playout) + playout->starts_us[i] + segment->start_us;
    place.discontinuity = segment->discontinuity && number > 0;
    if (number > 0)
        place.discontinuities = round * playout->discontinuities[playout->items_count] + playout->discontinuities[i] +
                                segment->discontinuities - 1;
    return place;
}

/* The number of the segment that holds a position; in a channel that does not loop, one behind the last at its end. */
static int64_t number_at(const struct playout *playout, int64_t position_us)
{
    int64_t round = position_us / round_us(playout), offset_us = position_us % round_us(playout);

    if (!playout->loop && round > 0)
        return round_segments(playout);
    int i = find_item(playout->starts_us, playout->items_count, offset_us);
    return round * round_segments(playout) + playout->firsts[i] +
           (int64_t)playout_item_find(playout->items[i], offset_us - playout->starts_us[i]);
}

int playout_window_at(const struct playout *playout, int64_t now_s, struct playout_window *window)
{
    int64_t target_us = playout->target_s * 1000000LL;
    int64_t lead_us = PLAYOUT_LEAD_SEGMENTS * target_us, trail_us = PLAYOUT_TRAIL_SEGMENTS * target_us;
    int64_t position_us = (now_s * 1000 - playout->start_ms) * 1000;

    if (position_us < 0)
        return PLAYOUT_EARLY;
    /* A playlist with its end in it never changes again: time stands still from there. */
    if (!playout->loop && position_us > round_us(playout) - lead_us)
        position_us = round_us(playout) > lead_us ? round_us(playout) - lead_us : 0;
    window->end = number_at(playout, position_us + lead_us);
    /* At the start, segments that are a little longer than the target. */
    if (window->end < PLAYOUT_MIN_SEGMENTS)
        window->end = playout->loop || round_segments(playout) > PLAYOUT_MIN_SEGMENTS ? PLAYOUT_MIN_SEGMENTS
                                                                                      : round_segments(playout);
    window->is_last = !playout->loop && window->end == round_segments(playout);
    window->first = position_us > trail_us ? number_at(playout, position_us - trail_us) : 0;
    if (window->first > window->end - PLAYOUT_MIN_SEGMENTS)
        window->first = window->end > PLAYOUT_MIN_SEGMENTS ? window->end - PLAYOUT_MIN_SEGMENTS : 0;
    if (window->first < window->end - PLAYOUT_MAX_SEGMENTS)
        window->first = window->end - PLAYOUT_MAX_SEGMENTS;
    window->discontinuity_sequence = place_of(playout, window->first).discontinuities;
    return 0;
}

/* --- texts --- */

static void print_segment(FILE *out, const struct playout *playout, int rung, int64_t number,
                          const struct playback_signer *signer)
{
    const struct place place = place_of(playout, number);
    const struct playout_segment *segment = &place.item->segments[place.segment];
    int rendition = playout_item_nearest(place.item, segment->renditions, rung);
    int64_t duration_us = playout_item_segment_us(place.item, place.segment);
    int64_t wall_ms = playout->start_ms + place.start_us / 1000;
    char file[160], url[PLAYBACK_URL_SIZE];

    hls_print_segment(out, place.discontinuity, wall_ms, duration_us);
    snprintf(file, sizeof(file), "%s/%s", place.item->renditions[rendition].name, place.item->files + segment->file);
    /* Signed as of when it is on air, not as of now: a segment's address stays the same as long as it is listed, and
     * good for at least a window from then on. */
    playback_url_make(signer, place.item->id, wall_ms / 1000, file, url, sizeof(url));
    fprintf(out, "../../../..%s\n", url);
}

static int finish_text(FILE *out)
{
    return fclose(out) == 0 ? 0 : PLAYOUT_MEMORY;
}

int playout_render_media(const struct playout *playout, int variant, int64_t now_s,
                         const struct playback_signer *signer, char **text, size_t *len)
{
    struct playout_window window;
    int code = playout_window_at(playout, now_s, &window);
    FILE *out;

    *text = NULL;
    if (code != 0)
        return code;
    out = open_memstream(text, len);
    if (!out)
        return PLAYOUT_MEMORY;
    hls_print_media_head(out, playout->target_s, window.first, window.discontinuity_sequence, false);
    if (!window.is_last)
        fprintf(out, "#EXT-X-START:TIME-OFFSET=-%d.0,PRECISE=YES\n", PLAYOUT_LEAD_SEGMENTS * playout->target_s);
    for (int64_t number = window.first; number < window.end; number++)
        print_segment(out, playout, playout->variants[variant].rung, number, signer);
    if (window.is_last)
        hls_print_end(out);
    return finish_text(out);
}

int playout_render_multivariant(const struct playout *playout, char **text, size_t *len)
{
    FILE *out = open_memstream(text, len);

    if (!out)
        return PLAYOUT_MEMORY;
    hls_print_multivariant_head(out);
    for (int i = 0; i < playout->variants_count; i++) {
        const struct playout_rendition *shown = &playout->variants[i].shown;
        const struct hls_variant variant = {shown->peak_bps, shown->average_bps, shown->codecs,
                                            shown->width,    shown->height,      shown->frame_rate};

        hls_print_variant(out, &variant, playout->variants[i].name, "index.m3u8");
    }
    return finish_text(out);
}
