#include "services/transcoder/file_main.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "services/transcoder/config.h"
#include "services/transcoder/file_source.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct file_mode {
    struct event_base *loop;
    struct engine_options options;
    struct engine *engine;
    struct file_source *source;
    const char *directory;
    FILE *index;
    int64_t restart_after, segments;
    int64_t media_us;
    bool is_over, must_restart;
    int status;
    struct checkpoint checkpoint;
    struct event *restart;
};

static int write_file(const char *path, const void *bytes, size_t len_bytes)
{
    FILE *file = fopen(path, "wb");
    int result = file && fwrite(bytes, 1, len_bytes, file) == len_bytes ? 0 : -1;

    if (file && fclose(file) != 0)
        result = -1;
    return result;
}

static void write_playlist_line(const struct file_mode *mode, const struct engine_segment *segment, const char *name)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s/index.m3u8", mode->directory, name);
    FILE *file = fopen(path, segment->media->number == 0 ? "w" : "a");
    if (!file)
        return;
    if (segment->media->number == 0)
        fputs("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-INDEPENDENT-SEGMENTS\n", file);
    if (segment->media->discontinuity)
        fputs("#EXT-X-DISCONTINUITY\n", file);
    fprintf(file, "#EXTINF:%.6f,\n%lld.ts\n", (double)(segment->media->end_us - segment->media->start_us) / 1e6,
            (long long)segment->media->number);
    fclose(file);
}

static void on_segment(const struct engine_segment *segment, void *context)
{
    struct file_mode *mode = context;
    const struct finished_segment *media = segment->media;
    char path[4096];

    for (int i = 0; i < media->plan->count; i++) {
        const char *name = media->plan->renditions[i].name;

        snprintf(path, sizeof(path), "%s/%s", mode->directory, name);
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            mode->status = 1;
        snprintf(path, sizeof(path), "%s/%s/%lld.ts", mode->directory, name, (long long)media->number);
        if (write_file(path, media->ts[i].data, media->ts[i].len) != 0)
            mode->status = 1;
        write_playlist_line(mode, segment, name);
        fprintf(mode->index, "%s{\"rendition\":\"%s\",\"width\":%d,\"height\":%d,\"codecs\":\"%s\",\"bytes\":%zu}",
                i == 0 ? "{\"renditions\":[" : ",", name, media->plan->renditions[i].width,
                media->plan->renditions[i].height, media->codecs[i], media->ts[i].len);
    }
    fprintf(mode->index,
            "],\"number\":%lld,\"start_us\":%lld,\"end_us\":%lld,\"discontinuity\":%s,\"session\":%lld,"
            "\"program_date_time_ms\":%lld,\"arrived_ms\":%lld,\"rate\":%.3f,\"thumbnail\":%zu}\n",
            (long long)media->number, (long long)media->start_us, (long long)media->end_us,
            media->discontinuity ? "true" : "false", (long long)segment->session,
            (long long)segment->program_date_time_ms, (long long)segment->arrived_ms,
            (double)media->plan->rate_num / media->plan->rate_den, segment->thumbnail ? segment->thumbnail_len : 0);
    if (segment->thumbnail) {
        snprintf(path, sizeof(path), "%s/thumbnail-%lld.jpg", mode->directory, (long long)media->number);
        if (write_file(path, segment->thumbnail, segment->thumbnail_len) != 0)
            mode->status = 1;
    }
    mode->media_us += media->end_us - media->start_us;
    if (mode->restart_after > 0 && ++mode->segments % mode->restart_after == 0 && !mode->must_restart) {
        char *text = checkpoint_encode(segment->checkpoint);
        /* Through its text, as a successor gets it. */
        if (!text || checkpoint_parse(text, strlen(text), &mode->checkpoint) != 0)
            mode->status = 1;
        free(text);
        mode->must_restart = true;
        event_active(mode->restart, 0, 0);
    }
}

static void feed(void *context)
{
    struct file_mode *mode = context;

    while (!mode->is_over && !mode->must_restart && engine_wants_input(mode->engine)) {
        struct media_entry *entry = file_source_next(mode->source);
        if (entry) {
            engine_push(mode->engine, entry);
        } else {
            mode->is_over = true;
            engine_flush(mode->engine, true);
        }
    }
}

static void on_flushed(void *context)
{
    struct file_mode *mode = context;

    event_base_loopbreak(mode->loop);
}

static void on_error(const char *text, void *context)
{
    struct file_mode *mode = context;

    log_error("engine.failed", log_str("why", text));
    mode->status = 1;
    event_base_loopbreak(mode->loop);
}

static void on_restart(evutil_socket_t fd, short what, void *context)
{
    struct file_mode *mode = context;

    if (mode->is_over) /* what a successor would make is already being flushed */
        return;
    engine_destroy(mode->engine);
    mode->engine = engine_create(&mode->options);
    engine_resume(mode->engine, &mode->checkpoint);
    file_source_seek(mode->source, mode->checkpoint.position, mode->checkpoint.in_session);
    mode->must_restart = false;
    feed(mode);
}

static void report(const struct file_mode *mode, int64_t began_ms)
{
    struct rusage usage;
    const struct engine_counts counts = engine_get_counts(mode->engine);

    getrusage(RUSAGE_SELF, &usage);
    const double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"media_s\":%.3f,\"wall_s\":%.3f,\"cpu_s\":%.3f,\"frames\":%lld,\"dropped\":%lld,\"repeated\":%lld,"
           "\"silence_ms\":%lld,\"broken\":%lld,\"rebases\":%lld}\n",
           (double)mode->media_us / 1e6, (double)(clock_monotonic_ms() - began_ms) / 1e3, cpu_s,
           (long long)counts.video.frames, (long long)counts.video.dropped, (long long)counts.video.repeated,
           (long long)counts.silence_ms, (long long)counts.broken_tags, (long long)counts.rebases);
}

int file_main(int argc, char **argv)
{
    struct file_mode mode = {.status = 0};
    struct transcoder_config config = {0};
    char error[512] = "cannot read the input", path[4096];
    const int64_t began_ms = clock_monotonic_ms();

    if (argc < 4) {
        fprintf(stderr, "usage: transcoder file input.flv[,next.flv…] outdir [--restart-after segments]\n");
        return 2;
    }
    if (argc > 5 && strcmp(argv[4], "--restart-after") == 0)
        mode.restart_after = atoi(argv[5]);
    log_init("transcoder", "file", LOG_LEVEL_INFO);
    gst_init(NULL, NULL);
    mode.directory = argv[3];
    mode.loop = event_base_new();
    mode.restart = event_new(mode.loop, -1, 0, on_restart, &mode);
    if (mkdir(mode.directory, 0777) != 0 && errno != EEXIST)
        mode.status = 1;
    snprintf(path, sizeof(path), "%s/segments.jsonl", mode.directory);
    mode.index = fopen(path, "w");
    if (config_load(transcoder_config_rows, &config, error, sizeof(error)) != 0 ||
        transcoder_config_engine(&config, &mode.options, error, sizeof(error)) != 0 || !mode.index ||
        !(mode.source = file_source_open(argv[2]))) {
        fprintf(stderr, "transcoder: %s\n", error);
        mode.status = 1;
        goto out;
    }
    mode.options.loop = mode.loop;
    mode.options.on_segment = on_segment;
    mode.options.on_room = feed;
    mode.options.on_flushed = on_flushed;
    mode.options.on_error = on_error;
    mode.options.context = &mode;
    mode.engine = engine_create(&mode.options);
    feed(&mode);
    event_base_dispatch(mode.loop);
    report(&mode, began_ms);
    engine_destroy(mode.engine);
out:
    file_source_close(mode.source);
    if (mode.index)
        fclose(mode.index);
    event_free(mode.restart);
    event_base_free(mode.loop);
    config_clear(transcoder_config_rows, &config);
    return mode.status;
}
