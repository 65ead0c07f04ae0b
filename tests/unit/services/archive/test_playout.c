/* Channels by a fake clock: 10,000 seconds over three recordings of different ladders, the start, the end, far future.
 */
#include "services/archive/playout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define START_MS 1763716182000LL
#define START_S  (START_MS / 1000)
#define SECONDS  10000

static const struct playback_signer signer = {"secret", 21600};

static struct playout_rendition rendition(const char *name, int width, int height, int64_t bps)
{
    struct playout_rendition r = {.width = width, .height = height, .frame_rate = 30, .peak_bps = bps};

    r.average_bps = bps / 2;
    snprintf(r.name, sizeof(r.name), "%s", name);
    snprintf(r.codecs, sizeof(r.codecs), "%s", height > 0 ? "avc1.64001f,mp4a.40.2" : "mp4a.40.2");
    return r;
}

/* 15 segments, the eighth a rest of 0.7 s in front of a discontinuity from where on there is no 720p. */
static struct playout_item *item_a(void)
{
    struct playout_item *item = playout_item_create("a");
    const struct playout_rendition r[] = {rendition("720p", 1280, 720, 2000000), rendition("360p", 640, 360, 600000)};

    assert_int_equal(playout_item_add_rendition(item, &r[0]), 0);
    assert_int_equal(playout_item_add_rendition(item, &r[1]), 0);
    for (int i = 0; i < 15; i++) {
        char file[32];

        snprintf(file, sizeof(file), "%d-1.ts", i);
        assert_int_equal(playout_item_add_segment(item, file, i == 8, i == 7 ? 700000 : 2000000 + i * 37,
                                                  i < 8 ? "{\"720p\":10,\"360p\":5}" : "{\"360p\":5}"),
                         0);
    }
    assert_int_equal(playout_item_finish(item), 0);
    return item;
}

static struct playout_item *item_of(const char *id, const struct playout_rendition *r, int count, int segments)
{
    struct playout_item *item = playout_item_create(id);

    for (int i = 0; i < count; i++)
        assert_int_equal(playout_item_add_rendition(item, &r[i]), 0);
    for (int i = 0; i < segments; i++) {
        char file[32];

        snprintf(file, sizeof(file), "%d-1.ts", i);
        assert_int_equal(playout_item_add_segment(item, file, false, 1966667, ""), 0);
    }
    assert_int_equal(playout_item_finish(item), 0);
    return item;
}

struct instance {
    const struct playout_item *items[3];
    struct playout playout;
};

/* Built from nothing, as a process does that has just started. */
static struct instance *start_instance(bool loop)
{
    const struct playout_rendition b[] = {rendition("480p", 480, 854, 900000)}; /* portrait */
    const struct playout_rendition c[] = {rendition("source", 1276, 718, 3000000), rendition("240p", 426, 240, 300000)};
    struct instance *instance = calloc(1, sizeof(*instance));

    instance->items[0] = item_a();
    instance->items[1] = item_of("b", b, 1, 4);
    instance->items[2] = item_of("c", c, 2, 9);
    playout_init(&instance->playout, instance->items, 3, START_MS, loop);
    return instance;
}

static void stop_instance(struct instance *instance)
{
    for (int i = 0; i < 3; i++)
        playout_item_destroy((struct playout_item *)instance->items[i]);
    free(instance);
}

static char *media(struct instance *instance, int variant, int64_t now_s)
{
    char *text;
    size_t len;

    assert_int_equal(playout_render_media(&instance->playout, variant, now_s, &signer, &text, &len), 0);
    assert_int_equal(strlen(text), len);
    return text;
}

static long long number_after(const char *text, const char *tag)
{
    const char *at = strstr(text, tag);

    assert_non_null(at);
    return strtoll(at + strlen(tag), NULL, 10);
}

struct listed {
    char uri[160];
    bool discontinuity;
    double duration;
    char date[40];
};

struct list {
    long long sequence, discontinuity_sequence, target;
    int count;
    struct listed segments[PLAYOUT_MAX_SEGMENTS];
    double duration;
    bool is_ended;
};

static void parse(const char *text, struct list *list)
{
    char copy[65536], *rest = copy, *line;
    struct listed *next = list->segments;

    memset(list, 0, sizeof(*list));
    list->sequence = number_after(text, "#EXT-X-MEDIA-SEQUENCE:");
    list->discontinuity_sequence = number_after(text, "#EXT-X-DISCONTINUITY-SEQUENCE:");
    list->target = number_after(text, "#EXT-X-TARGETDURATION:");
    assert_true(strlen(text) < sizeof(copy));
    strcpy(copy, text);
    while ((line = strsep(&rest, "\n"))) {
        if (strcmp(line, "#EXT-X-DISCONTINUITY") == 0) {
            next->discontinuity = true;
        } else if (strncmp(line, "#EXTINF:", 8) == 0) {
            next->duration = strtod(line + 8, NULL);
            list->duration += next->duration;
        } else if (strncmp(line, "#EXT-X-PROGRAM-DATE-TIME:", 25) == 0) {
            snprintf(next->date, sizeof(next->date), "%s", line + 25);
        } else if (strcmp(line, "#EXT-X-ENDLIST") == 0) {
            list->is_ended = true;
        } else if (line[0] && line[0] != '#') {
            snprintf(next->uri, sizeof(next->uri), "%s", line);
            next++;
            list->count++;
        }
    }
}

/* What RFC 8216 asks of a playlist and the one before it. */
static void assert_follows(const struct list *before, const struct list *after)
{
    long long removed = after->sequence - before->sequence, discontinuities = 0;

    assert_true(removed >= 0 && removed <= before->count);
    for (long long i = 0; i < removed; i++)
        discontinuities += before->segments[i].discontinuity;
    assert_int_equal(after->discontinuity_sequence, before->discontinuity_sequence + discontinuities);
    assert_true(after->sequence + after->count >= before->sequence + before->count);
    assert_int_equal(after->target, before->target);
    for (long long i = removed; i < before->count; i++)
        assert_memory_equal(&before->segments[i], &after->segments[i - removed], sizeof(struct listed));
    if (before->is_ended)
        assert_true(after->is_ended && removed == 0 && after->count == before->count);
    if (removed > 0)
        assert_true(after->count >= PLAYOUT_MIN_SEGMENTS && after->duration >= 3 * (double)after->target);
}

static void test_ten_thousand_seconds(void **state)
{
    struct instance *one = start_instance(true), *other = start_instance(true);
    const int variants = one->playout.variants_count;
    static struct list lists[PLAYOUT_MAX_VARIANTS], list;
    long long rounds = 0;

    assert_int_equal(variants, 4);
    for (int64_t t = 0; t < SECONDS; t++) {
        if (t % 501 == 500) { /* a restart */
            stop_instance(other);
            other = start_instance(true);
        }
        for (int v = 0; v < variants; v++) {
            char *text = media(one, v, START_S + t), *same = media(other, v, START_S + t);

            assert_string_equal(text, same);
            parse(text, &list);
            assert_false(list.is_ended);
            assert_true(list.count >= PLAYOUT_MIN_SEGMENTS);
            if (t > 0)
                assert_follows(&lists[v], &list);
            else
                assert_true(list.sequence == 0 && list.discontinuity_sequence == 0 && !list.segments[0].discontinuity);
            lists[v] = list;
            if (v > 0) { /* aligned over the variants */
                assert_int_equal(list.sequence, lists[0].sequence);
                assert_int_equal(list.discontinuity_sequence, lists[0].discontinuity_sequence);
                for (int i = 0; i < list.count; i++) {
                    assert_int_equal(list.segments[i].discontinuity, lists[0].segments[i].discontinuity);
                    assert_string_equal(list.segments[i].date, lists[0].segments[i].date);
                }
            }
            free(text);
            free(same);
        }
        rounds = list.sequence / 28;
    }
    assert_true(rounds > 150); /* 28 segments, 54 s */
    /* Four discontinuities a round: three joints, one inside. */
    assert_in_range(list.discontinuity_sequence, rounds * 4 - 1, rounds * 4 + 4);
    stop_instance(one);
    stop_instance(other);
}

static void test_every_variant_has_the_nearest_rung(void **state)
{
    struct instance *instance = start_instance(true);
    const char *const names[] = {"720p", "480p", "360p", "240p"};
    /* Of item a before and after its 720p went, of b, of c. */
    const char *const expected[][4] = {
        {"/live/a/720p/0-1.ts", "/live/a/360p/14-1.ts", "/live/b/480p/0-1.ts", "/live/c/source/0-1.ts"},
        {"/live/a/360p/0-1.ts", "/live/a/360p/14-1.ts", "/live/b/480p/0-1.ts", "/live/c/source/0-1.ts"},
        {"/live/a/360p/0-1.ts", "/live/a/360p/14-1.ts", "/live/b/480p/0-1.ts", "/live/c/240p/0-1.ts"},
        {"/live/a/360p/0-1.ts", "/live/a/360p/14-1.ts", "/live/b/480p/0-1.ts", "/live/c/240p/0-1.ts"}};
    const int64_t when_s[] = {2, 28, 30, 38};
    char *text;
    size_t len;

    for (int v = 0; v < 4; v++) {
        assert_int_equal(playout_find_variant(&instance->playout, names[v]), v);
        for (int i = 0; i < 4; i++) {
            text = media(instance, v, START_S + when_s[i]);
            if (!strstr(text, expected[v][i]))
                fail_msg("%s at %d: no %s in\n%s", names[v], (int)when_s[i], expected[v][i], text);
            free(text);
        }
    }
    assert_int_equal(playout_find_variant(&instance->playout, "718p"), -1);
    assert_int_equal(playout_render_multivariant(&instance->playout, &text, &len), 0);
    /* The most that any item's nearest rung asks for: c's source stands in for 720p, 480p of c's too. */
    assert_non_null(strstr(text, "BANDWIDTH=3000000,"));
    assert_non_null(strstr(text, "RESOLUTION=1280x720,FRAME-RATE=30.000\n720p/index.m3u8\n"));
    assert_non_null(strstr(text, "\n240p/index.m3u8\n"));
    free(text);
    stop_instance(instance);
}

static void test_addresses_stay_while_listed(void **state)
{
    /* assert_follows() compares them over all windows; here that they do change, and when. */
    struct instance *instance = start_instance(true);
    char *early = media(instance, 0, START_S + 100), *late = media(instance, 0, START_S + 100 + 2 * 21600);
    const char *a = strstr(early, "../../../../hls/"), *b = strstr(late, "../../../../hls/");

    assert_non_null(a);
    assert_non_null(b);
    long long end_a = strtoll(a + 16, NULL, 10), end_b = strtoll(b + 16, NULL, 10);
    assert_int_equal(end_a % 21600, 0);
    assert_true(end_a > START_S + 100 + 21600 - 60 && end_b == end_a + 2 * 21600);
    free(early);
    free(late);
    stop_instance(instance);
}

static void test_start_and_end(void **state)
{
    struct instance *instance = start_instance(false);
    static struct list before, after;
    char *text = NULL;
    size_t len;

    assert_int_equal(playout_render_media(&instance->playout, 0, START_S - 1, &signer, &text, &len), PLAYOUT_EARLY);
    assert_null(text);
    for (int64_t t = 0; t < 200; t++) {
        text = media(instance, 0, START_S + t);
        parse(text, &after);
        if (t > 0)
            assert_follows(&before, &after);
        assert_int_equal(after.is_ended, t >= 43); /* 54.3 s less the lead of 12 s */
        before = after;
        free(text);
    }
    assert_string_equal(strrchr(after.segments[after.count - 1].uri, '/'), "/8-1.ts");
    stop_instance(instance);
}

static void test_shorter_than_a_playlist(void **state)
{
    const struct playout_rendition r[] = {rendition("audio", 0, 0, 64000)};
    struct playout_item *item = item_of("short", r, 1, 2);
    const struct playout_item *items[] = {item, item};
    struct playout playout;
    struct list list;
    char *text;
    size_t len;

    playout_init(&playout, items, 2, START_MS, false);
    assert_int_equal(playout_find_variant(&playout, "audio"), 0);
    assert_int_equal(playout_render_media(&playout, 0, START_S, &signer, &text, &len), 0);
    parse(text, &list);
    assert_true(list.is_ended && list.count == 4 && list.segments[2].discontinuity && !list.segments[1].discontinuity);
    free(text);
    /* Looped, its playlist holds several rounds. */
    playout_init(&playout, items, 1, START_MS, true);
    assert_int_equal(playout_render_media(&playout, 0, START_S + 1000, &signer, &text, &len), 0);
    parse(text, &list);
    assert_true(!list.is_ended && list.count >= 6 && list.duration >= 12);
    free(text);
    playout_item_destroy(item);
}

static void test_for_ever(void **state)
{
    struct instance *instance = start_instance(true);
    static struct list before, after;
    const int64_t far_s = START_S + 7000LL * 365 * 86400;

    for (int64_t t = 0; t < 300; t++) {
        char *text = media(instance, 0, far_s + t);

        parse(text, &after);
        assert_true(after.sequence > 100000000000LL);
        if (t > 0)
            assert_follows(&before, &after);
        before = after;
        free(text);
    }
    stop_instance(instance);
}

static void test_odd_rows(void **state)
{
    struct playout_item *item = playout_item_create("x");
    const struct playout_rendition r = rendition("720p", 1280, 720, 1), nameless = rendition("", 1, 1, 1);

    assert_int_equal(playout_item_finish(item), -1);
    assert_int_equal(playout_item_add_segment(item, "0.ts", false, 2000000, ""), -1); /* no rendition */
    assert_int_equal(playout_item_add_rendition(item, &nameless), -1);
    assert_int_equal(playout_item_add_rendition(item, &r), 0);
    assert_int_equal(playout_item_finish(item), -1);
    assert_int_equal(playout_item_add_segment(item, "", false, 2000000, ""), -1);
    assert_int_equal(playout_item_add_segment(item, "0.ts", false, 0, ""), -1);
    assert_int_equal(playout_item_add_segment(item, "0.ts", false, INT64_MAX, ""), -1);
    assert_int_equal(playout_item_add_segment(item, "0.ts", false, 2000000, "{\"9p\":1}"), -1);
    assert_int_equal(playout_item_add_segment(item, "0.ts", false, 2000000, "no JSON"), 0);
    assert_int_equal(playout_item_finish(item), 0);
    playout_item_destroy(item);
    playout_item_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_thousand_seconds),
        cmocka_unit_test(test_every_variant_has_the_nearest_rung),
        cmocka_unit_test(test_addresses_stay_while_listed),
        cmocka_unit_test(test_start_and_end),
        cmocka_unit_test(test_shorter_than_a_playlist),
        cmocka_unit_test(test_for_ever),
        cmocka_unit_test(test_odd_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
