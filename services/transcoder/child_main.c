/* The child's loop: ring -> engine -> Redis, and the rules around it: silence, end, drain, overload. */
#include "services/transcoder/child_main.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "proto/keys.h"
#include "proto/media_ring.h"
#include "services/transcoder/audio_stage.h"
#include "services/transcoder/child_status.h"
#include "services/transcoder/config.h"
#include "services/transcoder/overload.h"
#include "services/transcoder/ring_reader.h"
#include "services/transcoder/segment_pusher.h"

#include <event2/event.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#define TICK_MS        100
#define STATUS_MS      1000
#define SILENCE_MS     3000 /* without media: what is open is handed over */
#define END_QUIET_MS   700  /* after "ended": the ring counts as drained */
#define END_LIMIT_MS   7000 /* … or else now */
#define DRAIN_LIMIT_MS 4000
#define NEWEST_GROUPS  "220"

enum child_phase { CHILD_STARTING, CHILD_RUNNING, CHILD_FLUSHING, CHILD_FINAL };
enum flush_reason { FLUSH_SILENCE, FLUSH_END, FLUSH_SKIP };

struct child {
    const char *broadcast, *token;
    bool must_skip; /* begin at the newest key frame */
    struct transcoder_config config;
    struct event_base *loop;
    struct redis_link *state, *media;
    struct ring_reader *reader;
    struct engine_options options;
    struct engine *engine;
    struct segment_pusher *pusher;
    struct event *tick, *input;
    struct overload overload;
    struct checkpoint checkpoint;
    bool has_checkpoint;
    char newest_id[MEDIA_ENTRY_ID_SIZE]; /* read so far */
    char flushed_id[MEDIA_ENTRY_ID_SIZE];
    int64_t live_at_ms, clock_offset_ms, session, next_number;
    enum child_phase phase;
    enum flush_reason flush_reason;
    bool is_ended, is_draining;
    int64_t ended_ms, draining_ms, entry_ms, status_ms, judged_ms, began_ms;
    struct child_status status, before; /* before: of engines that are gone */
    int exit_code;
};

static void leave(struct child *child, int code)
{
    child->exit_code = code;
    event_base_loopbreak(child->loop);
}

/* --- the engine --- */

static void on_segment(const struct engine_segment *segment, void *context)
{
    struct child *child = context;

    child->session = segment->session;
    child->next_number = segment->checkpoint->number;
    child->checkpoint = *segment->checkpoint;
    child->has_checkpoint = true;
    segment_pusher_push(child->pusher, segment);
}

static void on_room(void *context)
{
    const struct child *child = context;

    ring_reader_kick(child->reader);
}

static void begin(struct child *child);
static void begin_at_newest(struct child *child);

static void on_flushed(void *context)
{
    struct child *child = context;
    const struct checkpoint *checkpoint = engine_checkpoint(child->engine);

    if (checkpoint) {
        child->checkpoint = *checkpoint;
        child->has_checkpoint = true;
    }
    if (child->flush_reason == FLUSH_END) {
        child->phase = CHILD_FINAL;
        segment_pusher_push_final(child->pusher, child->session, child->next_number);
    } else if (child->flush_reason == FLUSH_SKIP) {
        begin_at_newest(child);
    } else {
        begin(child);
    }
}

static void on_engine_error(const char *text, void *context)
{
    struct child *child = context;

    log_error("engine.failed", log_str("broadcast", child->broadcast), log_str("why", text));
    leave(child, CHILD_EXIT_FAILED);
}

static void add_engine_counts(struct child *child)
{
    const struct engine_counts counts = engine_get_counts(child->engine);

    child->status.frames = child->before.frames + counts.video.frames;
    child->status.dropped = child->before.dropped + counts.video.dropped;
    child->status.repeated = child->before.repeated + counts.video.repeated;
    child->status.silence_ms = child->before.silence_ms + counts.silence_ms;
    child->status.broken_tags = child->before.broken_tags + counts.broken_tags;
    child->status.rebases = counts.rebases;
}

static void replace_engine(struct child *child)
{
    if (child->engine) {
        add_engine_counts(child);
        child->before = child->status;
        engine_destroy(child->engine);
    }
    child->engine = engine_create(&child->options);
    engine_set_effort(child->engine, child->overload.effort);
    child->phase = CHILD_RUNNING;
    child->entry_ms = clock_monotonic_ms();
}

/* --- where to begin --- */

static void begin(struct child *child)
{
    replace_engine(child);
    if (child->has_checkpoint) {
        engine_resume(child->engine, &child->checkpoint);
        ring_reader_start(child->reader, child->checkpoint.position, child->checkpoint.in_session);
    } else {
        ring_reader_start(child->reader, "0", false);
    }
    engine_set_effort(child->engine, child->overload.effort);
}

/* The newest entry that can be begun at, or behind everything there is. */
static void on_newest(int code, const struct redisReply *reply, void *context)
{
    struct child *child = context;
    char id[MEDIA_ENTRY_ID_SIZE] = "$";
    bool found = false;

    if (code != 0) {
        log_warn("ring.unreadable", log_str("broadcast", child->broadcast), log_str("why", redis_link_strerror(code)));
        leave(child, CHILD_EXIT_FAILED);
        return;
    }
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements && !found; i++) {
        struct media_entry *entry = ring_reader_parse(reply->element[i]);
        if (i == 0 && entry)
            snprintf(id, sizeof(id), "%s", entry->id);
        found = entry && entry->is_start;
        if (found)
            snprintf(id, sizeof(id), "%s", entry->id);
        free(entry);
    }
    replace_engine(child);
    if (child->has_checkpoint) {
        child->checkpoint.in_session = false;
        child->checkpoint.discontinuity = true;
        snprintf(child->checkpoint.position, sizeof(child->checkpoint.position), "%s", id);
        engine_resume(child->engine, &child->checkpoint);
    } else if (child->live_at_ms > 0) {
        const int64_t since_ms = clock_wall_ms() - child->live_at_ms;
        engine_begin_at(child->engine, since_ms / 2000 + 1, since_ms > 0 ? since_ms * 1000 : 0);
    }
    ring_reader_start(child->reader, strcmp(id, "$") == 0 ? "0" : id, found);
}

static void begin_at_newest(struct child *child)
{
    char key[KEY_MAX];
    const char *args[] = {"XREVRANGE", key_of(key, KEY_MEDIA_RING, child->broadcast), "+", "-", "COUNT", NEWEST_GROUPS};

    redis_link_command(child->media, on_newest, child, 6, args, NULL);
}

static void on_broadcast(int code, const struct redisReply *reply, void *context)
{
    struct child *child = context;

    if (code != 0 || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        leave(child, CHILD_EXIT_FAILED);
        return;
    }
    if (reply->element[0]->str)
        child->live_at_ms = strtoll(reply->element[0]->str, NULL, 10);
    if (child->has_checkpoint && !child->must_skip)
        begin(child);
    else if (child->has_checkpoint || child->live_at_ms > 0)
        begin_at_newest(child);
    else
        begin(child);
    log_info("child.started", log_str("broadcast", child->broadcast), log_bool("resumed", child->has_checkpoint),
             log_int("number", child->has_checkpoint ? child->checkpoint.number : 0),
             log_int("started_in_ms", clock_monotonic_ms() - child->began_ms));
}

static void on_checkpoint(int code, const struct redisReply *reply, void *context)
{
    struct child *child = context;
    char key[KEY_MAX];
    const char *args[] = {"HMGET", key_of(key, KEY_BROADCAST, child->broadcast), "live_at_ms", "session"};

    if (code != 0) {
        leave(child, CHILD_EXIT_FAILED);
        return;
    }
    if (reply->type == REDIS_REPLY_STRING) {
        child->has_checkpoint = checkpoint_parse(reply->str, (size_t)reply->len, &child->checkpoint) == 0;
        if (!child->has_checkpoint)
            log_warn("checkpoint.unreadable", log_str("broadcast", child->broadcast));
        child->next_number = child->checkpoint.number;
        child->session = child->checkpoint.session;
    }
    redis_link_command(child->state, on_broadcast, child, 4, args, NULL);
}

static void on_time(int code, const struct redisReply *reply, void *context)
{
    struct child *child = context;

    if (code == 0 && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
        child->clock_offset_ms = strtoll(reply->element[0]->str, NULL, 10) * 1000 +
                                 strtoll(reply->element[1]->str, NULL, 10) / 1000 - clock_wall_ms();
}

static void on_link_up(void *context)
{
    struct child *child = context;
    char key[KEY_MAX];
    const char *args[] = {"GET", key_of(key, KEY_CHECKPOINT, child->broadcast)};
    const char *time[] = {"TIME"};

    if (child->phase != CHILD_STARTING || !redis_link_is_up(child->state) || !redis_link_is_up(child->media))
        return;
    child->phase = CHILD_RUNNING;
    redis_link_command(child->media, on_time, child, 1, time, NULL);
    redis_link_command(child->state, on_checkpoint, child, 2, args, NULL);
}

/* --- the ring --- */

static bool wants_entry(void *context)
{
    const struct child *child = context;

    return child->engine && child->phase == CHILD_RUNNING && engine_wants_input(child->engine) &&
           segment_pusher_queued(child->pusher) < SEGMENT_PUSHER_MAX_QUEUE;
}

static void on_entry(struct media_entry *entry, void *context)
{
    struct child *child = context;

    child->entry_ms = clock_monotonic_ms();
    memcpy(child->newest_id, entry->id, sizeof(child->newest_id));
    child->session = entry->session;
    engine_push(child->engine, entry);
}

/* --- what the supervisor says --- */

static void on_input(evutil_socket_t fd, short what, void *context)
{
    struct child *child = context;
    char bytes[256];
    const ssize_t got = read(fd, bytes, sizeof(bytes) - 1);

    if (got <= 0) {
        leave(child, CHILD_EXIT_DONE); /* nobody renews the lease any more */
        return;
    }
    bytes[got] = '\0';
    if (strstr(bytes, "ended") && !child->is_ended) {
        child->is_ended = true;
        child->ended_ms = clock_monotonic_ms();
    }
    if (strstr(bytes, "drain") && !child->is_draining) {
        child->is_draining = true;
        child->draining_ms = clock_monotonic_ms();
    }
}

static void on_pushed(int64_t number, int64_t latency_ms, const char *checkpoint, void *context)
{
    struct child *child = context;

    if (!checkpoint) {
        log_info("broadcast.finished", log_str("broadcast", child->broadcast), log_int("segments", number));
        leave(child, CHILD_EXIT_DONE);
        return;
    }
    child->status.segments++;
    child->status.push_ms = latency_ms;
    /* The supervisor keeps the newest. One that it does not read is soon replaced by the next. */
    if (dprintf(STDOUT_FILENO, CHILD_CHECKPOINT_PREFIX "%s\n", checkpoint) < 0)
        log_debug("checkpoint.unsent", log_str("broadcast", child->broadcast));
    log_debug("segment.pushed", log_str("broadcast", child->broadcast), log_int("number", number),
              log_int("push_ms", latency_ms));
    if (child->is_draining && segment_pusher_queued(child->pusher) == 0)
        leave(child, CHILD_EXIT_DONE);
    ring_reader_kick(child->reader);
}

static void on_fenced(void *context)
{
    struct child *child = context;

    log_warn("child.fenced", log_str("broadcast", child->broadcast), log_str("token", child->token));
    leave(child, CHILD_EXIT_FENCED);
}

/* --- rules of time --- */

static void flush(struct child *child, enum flush_reason reason)
{
    child->phase = CHILD_FLUSHING;
    child->flush_reason = reason;
    memcpy(child->flushed_id, child->newest_id, sizeof(child->flushed_id));
    engine_flush(child->engine, reason != FLUSH_SILENCE);
}

static void change_effort(struct child *child, int64_t lag_ms)
{
    log_warn("effort.changed", log_str("broadcast", child->broadcast),
             log_str("effort", video_effort_name(child->overload.effort)), log_int("lag_ms", lag_ms));
    engine_set_effort(child->engine, child->overload.effort);
}

static void judge_load(struct child *child, int64_t now_ms)
{
    const enum video_effort before = child->overload.effort;
    const int64_t lag_ms = ring_reader_lag_ms(child->reader, clock_wall_ms() + child->clock_offset_ms);

    child->status.lag_ms = lag_ms;
    switch (overload_judge(&child->overload, now_ms, lag_ms)) {
    case OVERLOAD_NONE:
        break;
    case OVERLOAD_LESS:
    case OVERLOAD_MORE:
        change_effort(child, lag_ms);
        break;
    case OVERLOAD_SKIP:
        if (child->overload.effort != before)
            change_effort(child, lag_ms);
        log_error("media.skipped", log_str("broadcast", child->broadcast), log_int("lag_ms", lag_ms));
        child->status.skips++;
        flush(child, FLUSH_SKIP);
        break;
    }
    child->status.effort = child->overload.effort;
}

static void send_status(struct child *child)
{
    add_engine_counts(child);
    char *line = child_status_encode(&child->status);

    /* A supervisor that does not read is a supervisor that hangs: its figures are worth nothing then. */
    if (line && dprintf(STDOUT_FILENO, "%s\n", line) < 0)
        child->status_ms += 5 * STATUS_MS;
    free(line);
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    struct child *child = context;
    const int64_t now_ms = clock_monotonic_ms();

    if (child->is_draining && (now_ms - child->draining_ms > DRAIN_LIMIT_MS ||
                               (now_ms - child->entry_ms > SILENCE_MS / 2 && child->phase == CHILD_RUNNING))) {
        leave(child, CHILD_EXIT_DONE);
        return;
    }
    if (!child->engine || child->phase != CHILD_RUNNING)
        return;
    const int64_t quiet_ms = now_ms - child->entry_ms;
    if (child->is_ended &&
        ((quiet_ms >= END_QUIET_MS && ring_reader_is_drained(child->reader) && engine_wants_input(child->engine)) ||
         now_ms - child->ended_ms > END_LIMIT_MS)) {
        flush(child, FLUSH_END);
    } else if (quiet_ms >= SILENCE_MS && ring_reader_is_drained(child->reader) &&
               strcmp(child->newest_id, child->flushed_id) != 0) {
        flush(child, FLUSH_SILENCE);
    } else if (now_ms - child->judged_ms >= STATUS_MS) {
        child->judged_ms = now_ms;
        judge_load(child, now_ms);
    }
    if (now_ms - child->status_ms >= STATUS_MS) {
        child->status_ms = now_ms;
        send_status(child);
    }
}

/* --- life --- */

static int connect_all(struct child *child)
{
    const char *media_url = child->config.media_redis_url[0] ? child->config.media_redis_url : child->config.redis_url;
    struct redis_link_options link = {.name = "state", .on_up = on_link_up, .context = child};
    const struct ring_reader_options reader = {child->loop, media_url, child->broadcast, wants_entry, on_entry, child};

    child->state = redis_link_create(child->loop, child->config.redis_url, &link);
    link.name = "media";
    child->media = redis_link_create(child->loop, media_url, &link);
    child->reader = ring_reader_create(&reader);
    if (!child->state || !child->media || !child->reader)
        return -1;
    const struct segment_pusher_options pusher = {child->loop,  child->state, child->media, child->broadcast,
                                                  child->token, on_pushed,    on_fenced,    child};
    child->pusher = segment_pusher_create(&pusher);
    return 0;
}

static void disconnect_all(struct child *child)
{
    ring_reader_destroy(child->reader);
    if (child->state)
        redis_link_destroy(child->state);
    if (child->media)
        redis_link_destroy(child->media);
    segment_pusher_destroy(child->pusher);
}

static int prepare(struct child *child)
{
    char error[512];

    if (config_load(transcoder_config_rows, &child->config, error, sizeof(error)) != 0 ||
        transcoder_config_engine(&child->config, &child->options, error, sizeof(error)) != 0) {
        log_error("child.broken", log_str("why", error));
        return -1;
    }
    child->options.loop = child->loop;
    child->options.on_segment = on_segment;
    child->options.on_room = on_room;
    child->options.on_flushed = on_flushed;
    child->options.on_error = on_engine_error;
    child->options.context = child;
    overload_init(&child->overload, child->config.shed_lag_ms, child->config.skip_lag_ms);
    return connect_all(child);
}

int child_main(int argc, char **argv)
{
    struct child child = {.exit_code = CHILD_EXIT_FAILED, .began_ms = clock_monotonic_ms()};
    const struct timeval tick = {0, TICK_MS * 1000};
    const char *instance = getenv("HANABI_CHILD_INSTANCE"), *level = getenv("HANABI_LOG_LEVEL");

    if (argc < 5 || !id_is_valid(argv[2]))
        return CHILD_EXIT_BROKEN;
    prctl(PR_SET_NAME, "transcode-child");
    log_init("transcoder", instance ? instance : "child",
             level && strcmp(level, "debug") == 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    child.broadcast = argv[2];
    child.token = argv[3];
    child.must_skip = strcmp(argv[4], "1") == 0;
    gst_init(NULL, NULL);
    child.loop = event_base_new();
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    child.input = event_new(child.loop, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, &child);
    child.tick = event_new(child.loop, -1, EV_PERSIST, on_tick, &child);
    event_add(child.input, NULL);
    event_add(child.tick, &tick);
    if (prepare(&child) == 0)
        event_base_dispatch(child.loop);
    else
        child.exit_code = CHILD_EXIT_BROKEN;
    engine_destroy(child.engine);
    disconnect_all(&child);
    event_free(child.input);
    event_free(child.tick);
    event_base_free(child.loop);
    config_clear(transcoder_config_rows, &child.config);
    return child.exit_code;
}

int probe_main(void)
{
    struct transcoder_config config = {0};
    struct engine_options options;
    char error[512];
    int status = CHILD_EXIT_BROKEN;

    gst_init(NULL, NULL);
    if (config_load(transcoder_config_rows, &config, error, sizeof(error)) == 0 &&
        transcoder_config_engine(&config, &options, error, sizeof(error)) == 0 && audio_stage_encoder()) {
        printf("%s %s\n", options.backend->name, audio_stage_encoder());
        status = 0;
    } else {
        printf("%s\n", error);
    }
    config_clear(transcoder_config_rows, &config);
    return status;
}
