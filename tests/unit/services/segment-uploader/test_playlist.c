/* The live playlist: golden texts, the window's rules, the state's way through JSON and back from the store. */
#include "services/segment-uploader/playlist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WALL_MS 1763716182123

/* Segment `number` of 2 s with two renditions of 240 and 80 kbit/s. */
static struct segment_entry entry_of(int64_t number)
{
    struct segment_entry entry = {
        .session = 7,
        .number = number,
        .program_date_time_ms = WALL_MS + number * 2000,
        .media_time_us = number * 2000000,
        .duration_us = 2000000,
        .renditions_count = 2,
        .renditions = {{"720p", 1280, 720, 30, "avc1.64001f,mp4a.40.2", 1, {{"k", 60000}}},
                       {"360p", 640, 360, 30, "avc1.64001e,mp4a.40.2", 1, {{"k", 20000}}}},
    };
    return entry;
}

static void add(struct playlist *playlist, int64_t number)
{
    struct segment_entry entry = entry_of(number);

    playlist_add(playlist, &entry, false);
}

static void assert_text(char *text, const char *expected)
{
    assert_string_equal(text, expected);
    free(text);
}

static void test_first_segment(void **state)
{
    struct playlist playlist;
    struct segment_entry entry = entry_of(0);

    playlist_init(&playlist);
    assert_false(playlist_multivariant_is_stale(&playlist));
    entry.discontinuity = true; /* there is nothing in front of it */
    entry.duration_us = 2002333;
    playlist_add(&playlist, &entry, false);
    assert_true(playlist_multivariant_is_stale(&playlist));
    playlist_announce(&playlist);
    assert_false(playlist_multivariant_is_stale(&playlist));
    assert_text(playlist_render_media(&playlist, 0), "#EXTM3U\n"
                                                     "#EXT-X-VERSION:6\n"
                                                     "#EXT-X-TARGETDURATION:2\n"
                                                     "#EXT-X-MEDIA-SEQUENCE:0\n"
                                                     "#EXT-X-DISCONTINUITY-SEQUENCE:0\n"
                                                     "#EXT-X-INDEPENDENT-SEGMENTS\n"
                                                     "#EXT-X-PROGRAM-DATE-TIME:2025-11-21T09:09:42.123Z\n"
                                                     "#EXTINF:2.002333,\n"
                                                     "0-7.ts\n");
    assert_text(playlist_render_multivariant(&playlist),
                "#EXTM3U\n"
                "#EXT-X-VERSION:6\n"
                "#EXT-X-INDEPENDENT-SEGMENTS\n"
                "#EXT-X-STREAM-INF:BANDWIDTH=239720,AVERAGE-BANDWIDTH=239720,CODECS=\"avc1.64001f,mp4a.40.2\","
                "RESOLUTION=1280x720,FRAME-RATE=30.000\n"
                "720p/index.m3u8\n"
                "#EXT-X-STREAM-INF:BANDWIDTH=79906,AVERAGE-BANDWIDTH=79906,CODECS=\"avc1.64001e,mp4a.40.2\","
                "RESOLUTION=640x360,FRAME-RATE=30.000\n"
                "360p/index.m3u8\n");
    playlist_clear(&playlist);
}

static void test_window_and_discontinuities(void **state)
{
    struct playlist playlist;
    int64_t media_sequence = 0;

    playlist_init(&playlist);
    for (int64_t number = 0; number < 30; number++) {
        struct segment_entry entry = entry_of(number);

        entry.discontinuity = number == 3 || number == 10;
        playlist_add(&playlist, &entry, false);
        playlist_mark_saved(&playlist, number + 1);
        assert_true(playlist.first_sequence - media_sequence == 0 || playlist.first_sequence - media_sequence == 1);
        media_sequence = playlist.first_sequence;
        assert_int_equal(playlist.first_sequence, number < 8 ? 0 : number - 7);
        /* Raised when the tag leaves with its segment. */
        assert_int_equal(playlist.discontinuity_sequence,
                         (playlist.first_sequence > 3) + (playlist.first_sequence > 10));
        assert_true(playlist.segments_count <= 8);
    }
    playlist.is_closed = true;
    for (int i = 0; i < 6; i++)
        add(&playlist, 30 + i);
    playlist_clear(&playlist);
}

static void test_closed(void **state)
{
    struct playlist playlist;

    playlist_init(&playlist);
    add(&playlist, 0);
    add(&playlist, 1);
    playlist.is_closed = true;
    assert_text(playlist_render_media(&playlist, 1), "#EXTM3U\n"
                                                     "#EXT-X-VERSION:6\n"
                                                     "#EXT-X-TARGETDURATION:2\n"
                                                     "#EXT-X-MEDIA-SEQUENCE:0\n"
                                                     "#EXT-X-DISCONTINUITY-SEQUENCE:0\n"
                                                     "#EXT-X-INDEPENDENT-SEGMENTS\n"
                                                     "#EXT-X-PROGRAM-DATE-TIME:2025-11-21T09:09:42.123Z\n"
                                                     "#EXTINF:2.000000,\n"
                                                     "0-7.ts\n"
                                                     "#EXT-X-PROGRAM-DATE-TIME:2025-11-21T09:09:44.123Z\n"
                                                     "#EXTINF:2.000000,\n"
                                                     "1-7.ts\n"
                                                     "#EXT-X-ENDLIST\n");
    playlist_clear(&playlist);
}

static void test_short_segments_lengthen_the_window(void **state)
{
    struct playlist playlist;

    playlist_init(&playlist);
    for (int64_t number = 0; number < 100; number++) {
        struct segment_entry entry = entry_of(number);
        int64_t duration_us = 0;

        entry.duration_us = 200000;
        playlist_add(&playlist, &entry, false);
        playlist_mark_saved(&playlist, number + 1);
        for (int i = 0; i < playlist.segments_count; i++)
            duration_us += playlist.segments[i].duration_us;
        /* Never less than three target durations once there was so much. */
        assert_true(number < 40 || (duration_us >= 6000000 && playlist.segments_count >= 6));
        assert_true(playlist.segments_count <= 41);
    }
    playlist_clear(&playlist);
}

static void test_gaps_are_discontinuities(void **state)
{
    struct playlist playlist;
    struct segment_entry entry;

    playlist_init(&playlist);
    add(&playlist, 0);
    add(&playlist, 1);
    assert_false(playlist.segments[1].discontinuity);
    add(&playlist, 3); /* entry 2 was lost */
    assert_true(playlist.segments[2].discontinuity);
    entry = entry_of(4);
    playlist_add(&playlist, &entry, true);
    assert_true(playlist.segments[3].discontinuity);
    add(&playlist, 0); /* the transcoder began anew */
    assert_true(playlist.segments[4].discontinuity);
    entry = entry_of(1);
    entry.renditions[1].height = 362;
    playlist_add(&playlist, &entry, false);
    assert_true(playlist.segments[5].discontinuity);
    playlist_clear(&playlist);
}

static void test_repeated_entry_is_known(void **state)
{
    struct playlist playlist;
    struct segment_entry entry = entry_of(5);

    playlist_init(&playlist);
    assert_false(playlist_has(&playlist, &entry));
    playlist_add(&playlist, &entry, false);
    assert_true(playlist_has(&playlist, &entry));
    entry.session++;
    assert_false(playlist_has(&playlist, &entry));
    playlist_clear(&playlist);
}

static void test_changed_ladder(void **state)
{
    struct playlist playlist;
    struct segment_entry entry = entry_of(1);
    char *text;
    int order[SEGMENT_MAX_RENDITIONS];

    playlist_init(&playlist);
    add(&playlist, 0);
    /* 360p goes, 1080p comes. */
    entry.renditions[1] =
        (struct segment_rendition){"1080p", 1920, 1080, 30, "avc1.640028,mp4a.40.2", 1, {{"k", 100000}}};
    playlist_add(&playlist, &entry, false);
    assert_true(playlist.segments[1].discontinuity);
    assert_int_equal(playlist.renditions_count, 3);
    playlist_order(&playlist, order);
    assert_string_equal(playlist.renditions[order[0]].name, "1080p");
    assert_string_equal(playlist.renditions[order[2]].name, "360p");

    text = playlist_render_media(&playlist, 1);
    assert_non_null(strstr(text, "\n0-7.ts\n"));
    assert_non_null(strstr(text, "#EXT-X-DISCONTINUITY\n"));
    assert_non_null(strstr(text, "\n../720p/1-7.ts\n"));
    free(text);
    text = playlist_render_media(&playlist, 2);
    assert_non_null(strstr(text, "\n../720p/0-7.ts\n"));
    assert_non_null(strstr(text, "\n1-7.ts\n"));
    free(text);
    playlist_clear(&playlist);
}

static void test_bandwidth(void **state)
{
    struct playlist playlist;
    struct segment_entry entry;

    playlist_init(&playlist);
    add(&playlist, 0);
    playlist_announce(&playlist);
    entry = entry_of(1);
    entry.renditions[0].parts[0].bytes = 65000; /* 8 % more: not worth a new playlist */
    playlist_add(&playlist, &entry, false);
    assert_false(playlist_multivariant_is_stale(&playlist));
    entry = entry_of(2);
    entry.duration_us = 200000; /* the rest of a cut segment, at 2.4 Mbit/s, is no peak */
    playlist_add(&playlist, &entry, false);
    assert_int_equal(playlist.renditions[0].peak_bps, 260000);
    entry = entry_of(3);
    entry.renditions[0].parts[0].bytes = 90000;
    playlist_add(&playlist, &entry, false);
    assert_true(playlist_multivariant_is_stale(&playlist));
    playlist_announce(&playlist);
    assert_int_equal(playlist.renditions[0].announced_peak_bps, 360000);
    assert_int_equal(playlist.renditions[0].announced_average_bps, (60000 + 65000 + 60000 + 90000) * 80L / 62);
    playlist_clear(&playlist);
}

static void test_audio_only(void **state)
{
    struct playlist playlist;
    struct segment_entry entry = entry_of(0);

    playlist_init(&playlist);
    entry.renditions_count = 1;
    entry.renditions[0] = (struct segment_rendition){"audio", 0, 0, 0, "mp4a.40.2", 1, {{"k", 32000}}};
    playlist_add(&playlist, &entry, false);
    playlist_announce(&playlist);
    assert_text(playlist_render_multivariant(&playlist),
                "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n"
                "#EXT-X-STREAM-INF:BANDWIDTH=128000,AVERAGE-BANDWIDTH=128000,CODECS=\"mp4a.40.2\"\naudio/index.m3u8\n");
    playlist_clear(&playlist);
}

static void test_state_round_trip(void **state)
{
    struct playlist playlist, copy;
    char *json, *again;

    playlist_init(&playlist);
    playlist_init(&copy);
    for (int64_t number = 0; number < 25; number++) {
        struct segment_entry entry = entry_of(number);

        entry.discontinuity = number % 7 == 3;
        if (number % 5 == 0)
            strcpy(entry.thumbnail_key, "t");
        playlist_add(&playlist, &entry, false);
    }
    playlist_mark_saved(&playlist, 12);
    playlist_announce(&playlist);
    json = playlist_export(&playlist);
    assert_int_equal(playlist_import(&copy, json, strlen(json)), 0);
    again = playlist_export(&copy);
    assert_string_equal(json, again);
    assert_int_equal(copy.next_sequence, 25);
    assert_int_equal(copy.saved_sequence, 12);
    assert_int_equal(copy.segments[0].sequence, 12);
    free(again);
    again = playlist_render_media(&playlist, 0);
    assert_text(playlist_render_media(&copy, 0), again);
    free(again);

    /* Nothing but a state is a state; every cut of one is refused and leaves an empty playlist. */
    for (size_t len = 0; len < strlen(json); len += 7) {
        playlist_clear(&copy);
        assert_int_equal(playlist_import(&copy, json, len), -1);
        assert_int_equal(copy.segments_count, 0);
    }
    free(json);
    playlist_clear(&playlist);
    playlist_clear(&copy);
}

static void test_rows_wait_but_not_without_bound(void **state)
{
    struct playlist playlist;

    playlist_init(&playlist);
    for (int64_t number = 0; number < PLAYLIST_MAX_SEGMENTS + 10; number++)
        add(&playlist, number);
    assert_true(playlist.segments_count <= PLAYLIST_MAX_SEGMENTS);
    assert_true(playlist.dropped_rows >= 10);
    assert_int_equal(playlist.saved_sequence, playlist.dropped_rows);
    assert_int_equal(playlist.first_sequence, playlist.next_sequence - 8);
    assert_non_null(playlist_find(&playlist, playlist.saved_sequence));
    assert_null(playlist_find(&playlist, playlist.saved_sequence - 1));
    playlist_mark_saved(&playlist, playlist.next_sequence);
    assert_int_equal(playlist.segments_count, 8);
    playlist_clear(&playlist);
}

static void test_recover_from_store(void **state)
{
    struct playlist playlist, back;
    struct segment_entry last = entry_of(11);
    char *master, *media[2], *behind;

    playlist_init(&playlist);
    playlist_init(&back);
    for (int64_t number = 0; number < 12; number++) {
        struct segment_entry entry = entry_of(number);

        entry.discontinuity = number == 2 || number == 9;
        if (number == 11)
            entry.renditions_count = 1; /* 360p names ../720p/ */
        if (number == 11)
            behind = playlist_render_media(&playlist, 0);
        playlist_add(&playlist, &entry, false);
    }
    playlist_announce(&playlist);
    master = playlist_render_multivariant(&playlist);
    media[0] = playlist_render_media(&playlist, 0);
    media[1] = playlist_render_media(&playlist, 1);

    assert_int_equal(playlist_recover_multivariant(&back, master), 0);
    assert_int_equal(back.renditions_count, 2);
    /* The writer died between the renditions: the first one is a segment behind. */
    assert_int_equal(playlist_recover_media(&back, 0, behind), 0);
    assert_int_equal(back.next_sequence, 11);
    assert_int_equal(playlist_recover_media(&back, 1, media[1]), 0);
    assert_int_equal(back.next_sequence, 12);
    assert_true(playlist_has(&back, &last));
    last.program_date_time_ms++;
    assert_false(playlist_has(&back, &last));
    assert_int_equal(back.discontinuity_sequence, playlist.discontinuity_sequence);
    assert_text(playlist_render_media(&back, 0), media[0]);
    assert_text(playlist_render_media(&back, 1), media[1]);
    assert_false(back.is_closed);
    /* What comes next is behind a discontinuity: nobody knows what was lost. */
    add(&back, 0);
    assert_true(back.segments[back.segments_count - 1].discontinuity);
    free(master);
    free(media[0]);
    free(media[1]);
    free(behind);
    playlist_clear(&playlist);
    playlist_clear(&back);
}

static void test_recover_refuses_what_is_not_ours(void **state)
{
    struct playlist playlist;

    playlist_init(&playlist);
    assert_int_equal(playlist_recover_multivariant(&playlist, ""), -1);
    assert_int_equal(playlist_recover_multivariant(&playlist, "#EXT-X-STREAM-INF:BANDWIDTH=1\n../x/index.m3u8\n"), -1);
    playlist_clear(&playlist);
    assert_int_equal(playlist_recover_multivariant(&playlist, "#EXT-X-STREAM-INF:BANDWIDTH=1\na/index.m3u8\n"), 0);
    assert_int_equal(playlist_recover_media(&playlist, 0, ""), -1);
    assert_int_equal(playlist_recover_media(&playlist, 0, "#EXT-X-MEDIA-SEQUENCE:4\n#EXTINF:2,\n5-7.ts\n"), -1);
    assert_int_equal(playlist_recover_media(&playlist, 0, "#EXT-X-MEDIA-SEQUENCE:5\n#EXTINF:2,\n5-7.ts\n"), 0);
    playlist_clear(&playlist);
}

/* Found by fuzzing: what is beyond all numbers of ours is refused, not counted on from. */
static void test_absurd_numbers_are_refused(void **state)
{
    static const char *const states[] = {
        "{\"v\":1,\"first\":9223372036854775806,\"next\":9223372036854775807,\"renditions\":[{\"name\":\"a\","
        "\"codecs\":\"x\"}],"
        "\"segments\":[[9223372036854775806,7,1,0,0,0,2000000,1]]}",
        "{\"v\":1,\"first\":1,\"next\":2,\"renditions\":[{\"name\":\"a\",\"codecs\":\"x\"}],"
        "\"segments\":[[1,7,1,0,0,0,9223372036854775807,1]]}"};
    static const char *const media[] = {
        "#EXT-X-MEDIA-SEQUENCE:9223372036854775807\n#EXTINF:2.0,\n9223372036854775807-7.ts\n",
        "#EXT-X-MEDIA-SEQUENCE:1\n#EXTINF:1e300,\n1-7.ts\n",
        "#EXT-X-MEDIA-SEQUENCE:3\n#EXTINF:2.0,\n3-7.ts\n#EXT-X-MEDIA-SEQUENCE:0\n"};
    struct playlist playlist;

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        playlist_init(&playlist);
        assert_int_equal(playlist_import(&playlist, states[i], strlen(states[i])), -1);
        playlist_clear(&playlist);
    }
    for (size_t i = 0; i < sizeof(media) / sizeof(media[0]); i++) {
        playlist_init(&playlist);
        assert_int_equal(
            playlist_recover_multivariant(&playlist, "#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"x\"\na/index.m3u8\n"), 0);
        assert_int_equal(playlist_recover_media(&playlist, 0, media[i]), -1);
        playlist_clear(&playlist);
    }
    /* A date without its year is no date; the segment stands. */
    playlist_init(&playlist);
    assert_int_equal(
        playlist_recover_multivariant(&playlist, "#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"x\"\na/index.m3u8\n"), 0);
    assert_int_equal(playlist_recover_media(&playlist, 0,
                                            "#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-PROGRAM-DATE-TIME:2025-11-21T09:09:44."
                                            "9223372036854775807Z\n#EXTINF:2.0,\n1-7.ts\n"),
                     0);
    assert_int_equal(playlist.segments[0].program_date_time_ms, 0);
    playlist_clear(&playlist);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_segment),
        cmocka_unit_test(test_window_and_discontinuities),
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_short_segments_lengthen_the_window),
        cmocka_unit_test(test_gaps_are_discontinuities),
        cmocka_unit_test(test_repeated_entry_is_known),
        cmocka_unit_test(test_changed_ladder),
        cmocka_unit_test(test_bandwidth),
        cmocka_unit_test(test_audio_only),
        cmocka_unit_test(test_state_round_trip),
        cmocka_unit_test(test_rows_wait_but_not_without_bound),
        cmocka_unit_test(test_recover_from_store),
        cmocka_unit_test(test_absurd_numbers_are_refused),
        cmocka_unit_test(test_recover_refuses_what_is_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
