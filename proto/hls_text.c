#include "proto/hls_text.h"

#include <inttypes.h>
#include <time.h>

#define HEAD "#EXTM3U\n#EXT-X-VERSION:6\n"

void hls_print_media_head(FILE *out, int64_t target_duration_s, int64_t media_sequence, int64_t discontinuity_sequence,
                          bool is_vod)
{
    fprintf(out,
            HEAD "#EXT-X-TARGETDURATION:%" PRId64 "\n#EXT-X-MEDIA-SEQUENCE:%" PRId64
                 "\n#EXT-X-DISCONTINUITY-SEQUENCE:%" PRId64 "\n%s#EXT-X-INDEPENDENT-SEGMENTS\n",
            target_duration_s, media_sequence, discontinuity_sequence, is_vod ? "#EXT-X-PLAYLIST-TYPE:VOD\n" : "");
}

void hls_print_segment(FILE *out, bool discontinuity, int64_t program_date_time_ms, int64_t duration_us)
{
    time_t seconds = (time_t)(program_date_time_ms / 1000);
    struct tm utc;
    char text[40];

    gmtime_r(&seconds, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    fprintf(out, "%s#EXT-X-PROGRAM-DATE-TIME:%s.%03dZ\n#EXTINF:%" PRId64 ".%06d,\n",
            discontinuity ? "#EXT-X-DISCONTINUITY\n" : "", text, (int)(program_date_time_ms % 1000),
            duration_us / 1000000, (int)(duration_us % 1000000));
}

void hls_print_end(FILE *out)
{
    fputs("#EXT-X-ENDLIST\n", out);
}

void hls_print_multivariant_head(FILE *out)
{
    fputs(HEAD "#EXT-X-INDEPENDENT-SEGMENTS\n", out);
}

void hls_print_variant(FILE *out, const struct hls_variant *variant, const char *folder, const char *file)
{
    fprintf(out, "#EXT-X-STREAM-INF:BANDWIDTH=%" PRId64 ",AVERAGE-BANDWIDTH=%" PRId64 ",CODECS=\"%s\"",
            variant->peak_bps, variant->average_bps, variant->codecs);
    if (variant->width > 0 && variant->height > 0)
        fprintf(out, ",RESOLUTION=%dx%d", variant->width, variant->height);
    if (variant->frame_rate > 0)
        fprintf(out, ",FRAME-RATE=%.3f", variant->frame_rate);
    fprintf(out, "\n%s/%s\n", folder, file);
}
