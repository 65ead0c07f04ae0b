/* The lines of a playlist, to the byte. */
#include "proto/hls_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static char *text;
static size_t text_len;

static FILE *begin(void)
{
    return open_memstream(&text, &text_len);
}

static void end(FILE *out, const char *expected)
{
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

static void test_a_live_playlist(void **state)
{
    FILE *out = begin();

    hls_print_media_head(out, 2, INT64_C(5000000000), 3, false);
    hls_print_segment(out, false, INT64_C(1763716182005), 2002333);
    hls_print_segment(out, true, INT64_C(1763716184999), 40);
    end(out, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:5000000000\n"
             "#EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-INDEPENDENT-SEGMENTS\n"
             "#EXT-X-PROGRAM-DATE-TIME:2025-11-21T09:09:42.005Z\n#EXTINF:2.002333,\n"
             "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2025-11-21T09:09:44.999Z\n#EXTINF:0.000040,\n");
}

static void test_a_recording(void **state)
{
    FILE *out = begin();

    hls_print_media_head(out, 3, 0, 0, true);
    hls_print_end(out);
    end(out, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:0\n"
             "#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n"
             "#EXT-X-ENDLIST\n");
}

static void test_variants_say_what_is_known_of_them(void **state)
{
    const struct hls_variant video = {3000000, 2500000, "avc1.64001f,mp4a.40.2", 1280, 720, 29.97};
    const struct hls_variant sound = {130000, 128000, "mp4a.40.2", 0, 0, 0};
    FILE *out = begin();

    hls_print_multivariant_head(out);
    hls_print_variant(out, &video, "720p", "index.m3u8");
    hls_print_variant(out, &sound, "audio", "recording.m3u8");
    end(out, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n"
             "#EXT-X-STREAM-INF:BANDWIDTH=3000000,AVERAGE-BANDWIDTH=2500000,CODECS=\"avc1.64001f,mp4a.40.2\","
             "RESOLUTION=1280x720,FRAME-RATE=29.970\n720p/index.m3u8\n"
             "#EXT-X-STREAM-INF:BANDWIDTH=130000,AVERAGE-BANDWIDTH=128000,CODECS=\"mp4a.40.2\"\n"
             "audio/recording.m3u8\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_live_playlist),
        cmocka_unit_test(test_a_recording),
        cmocka_unit_test(test_variants_say_what_is_known_of_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
