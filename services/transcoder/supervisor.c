#include "services/transcoder/supervisor.h"

#include "libcommon/alloc.h"
#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/lease.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "libcommon/subscriber.h"
#include "proto/keys.h"
#include "services/transcoder/checkpoint_keeper.h"
#include "services/transcoder/child_process.h"
#include "services/transcoder/job.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <unistd.h>

#define POLL_MS             300
#define MAX_JOBS            1000
#define MAX_TRIES           16 /* leases asked for in one poll: others poll too */
#define HOPELESS_MS         10000
#define MAX_AVOIDED         64
#define FIND_LIMIT          "2000"
#define CHECKPOINT_EXPIRE_S "86400" /* as script_segment_push has it */

struct attempt {
    struct attempt *next;
    struct supervisor *supervisor;
    char broadcast[ID_SIZE];
    char key[KEY_MAX];
};

/* Broadcasts whose children keep dying here: left to others for a while. */
struct avoided {
    char broadcast[ID_SIZE];
    int64_t until_ms;
};

struct supervisor {
    struct service *service;
    const struct transcoder_config *config;
    struct redis_link *state, *media;
    struct subscriber *subscriber;
    struct event *poll;
    struct child_process *probe;
    bool can_work, is_polling, is_draining;
    char why_not[256];
    char ping_channel[KEY_MAX];
    int capacity;
    struct job *jobs[MAX_JOBS];
    int jobs_count;
    struct attempt *attempts;
    int attempts_count;
    struct checkpoint_keeper *checkpoints;
    struct avoided avoided[MAX_AVOIDED];
    struct metric *running, *restarts, *segments, *frames, *dropped, *repeated, *silence, *broken, *rebases, *skips,
        *lag, *effort, *push_time, *checkpoints_kept;
};

static void poll_now(struct supervisor *supervisor);

/* --- jobs --- */

static struct job *find_job(struct supervisor *supervisor, const char *broadcast)
{
    for (int i = 0; i < supervisor->jobs_count; i++)
        if (strcmp(job_broadcast(supervisor->jobs[i]), broadcast) == 0)
            return supervisor->jobs[i];
    return NULL;
}

static void on_status(const struct child_status *now, const struct child_status *before, void *context)
{
    struct supervisor *s = context;
    int64_t lag = 0, effort = 0;

    metric_add(s->segments, (double)(now->segments - before->segments));
    metric_add(s->frames, (double)(now->frames - before->frames));
    metric_add(s->dropped, (double)(now->dropped - before->dropped));
    metric_add(s->repeated, (double)(now->repeated - before->repeated));
    metric_add(s->silence, (double)(now->silence_ms - before->silence_ms) / 1000);
    metric_add(s->broken, (double)(now->broken_tags - before->broken_tags));
    metric_add(s->rebases, now->rebases > before->rebases ? (double)(now->rebases - before->rebases) : 0);
    metric_add(s->skips, (double)(now->skips - before->skips));
    if (now->segments > before->segments)
        metric_observe(s->push_time, (double)now->push_ms / 1000);
    for (int i = 0; i < s->jobs_count; i++) {
        const struct child_status *status = job_status(s->jobs[i]);
        lag = status->lag_ms > lag ? status->lag_ms : lag;
        effort = status->effort > effort ? status->effort : effort;
    }
    metric_set(s->lag, (double)lag / 1000);
    metric_set(s->effort, (double)effort);
}

static void on_checkpoint(const char *broadcast, const char *text, void *context)
{
    struct supervisor *supervisor = context;

    checkpoint_keeper_keep(supervisor->checkpoints, broadcast, text, clock_monotonic_ms());
    metric_set(supervisor->checkpoints_kept, checkpoint_keeper_count(supervisor->checkpoints));
}

static void forget_checkpoint(struct supervisor *supervisor, const char *broadcast)
{
    checkpoint_keeper_forget(supervisor->checkpoints, broadcast);
    metric_set(supervisor->checkpoints_kept, checkpoint_keeper_count(supervisor->checkpoints));
}

/* Redis has what we know unless it came back without its data. Done before any lease is asked for on the same link, so
 * that whoever gets it finds the checkpoint. */
static void give_back(const char *broadcast, const char *text, void *context)
{
    struct supervisor *supervisor = context;
    char key[KEY_MAX];
    const char *args[] = {"SET", key_of(key, KEY_CHECKPOINT, broadcast), text, "EX", CHECKPOINT_EXPIRE_S, "NX"};

    redis_link_command(supervisor->state, NULL, NULL, 6, args, NULL);
}

static void on_restart(int code, void *context)
{
    struct supervisor *supervisor = context;

    metric_add(supervisor->restarts, 1);
}

static void avoid(struct supervisor *supervisor, const char *broadcast)
{
    struct avoided *oldest = &supervisor->avoided[0];

    for (int i = 1; i < MAX_AVOIDED; i++)
        if (supervisor->avoided[i].until_ms < oldest->until_ms)
            oldest = &supervisor->avoided[i];
    snprintf(oldest->broadcast, sizeof(oldest->broadcast), "%s", broadcast);
    oldest->until_ms = clock_monotonic_ms() + HOPELESS_MS;
}

static bool is_avoided(const struct supervisor *supervisor, const char *broadcast)
{
    for (int i = 0; i < MAX_AVOIDED; i++)
        if (supervisor->avoided[i].until_ms > clock_monotonic_ms() &&
            strcmp(supervisor->avoided[i].broadcast, broadcast) == 0)
            return true;
    return false;
}

static void forget_attempt(struct supervisor *supervisor, struct attempt *attempt)
{
    for (struct attempt **at = &supervisor->attempts; *at; at = &(*at)->next)
        if (*at == attempt) {
            *at = attempt->next;
            break;
        }
    free(attempt);
}

static void on_job_end(struct job *job, enum job_end end, void *context)
{
    struct supervisor *supervisor = context;

    if (end == JOB_HOPELESS) {
        log_error("broadcast.given_up", log_str("broadcast", job_broadcast(job)));
        avoid(supervisor, job_broadcast(job));
    }
    if (end == JOB_FINISHED)
        forget_checkpoint(supervisor, job_broadcast(job));
    for (int i = 0; i < supervisor->jobs_count; i++)
        if (supervisor->jobs[i] == job)
            supervisor->jobs[i] = supervisor->jobs[--supervisor->jobs_count];
    struct attempt *attempt = supervisor->attempts;
    while (attempt && strcmp(attempt->broadcast, job_broadcast(job)) != 0)
        attempt = attempt->next;
    job_destroy(job);
    if (attempt) /* the lease's context */
        forget_attempt(supervisor, attempt);
    metric_set(supervisor->running, supervisor->jobs_count);
    if (supervisor->is_draining && supervisor->jobs_count == 0)
        service_drained(supervisor->service);
}

/* --- leases --- */

static void on_lease_lost(struct lease *lease, void *context)
{
    struct attempt *attempt = context;
    struct job *job = find_job(attempt->supervisor, attempt->broadcast);

    if (job)
        job_lease_lost(job);
}

static void on_acquired(struct lease *lease, int code, void *context)
{
    struct attempt *attempt = context;
    struct supervisor *supervisor = attempt->supervisor;
    const struct job_options options = {service_loop(supervisor->service),
                                        service_instance(supervisor->service),
                                        on_status,
                                        on_checkpoint,
                                        on_restart,
                                        on_job_end,
                                        supervisor};

    supervisor->attempts_count--;
    if (!lease) {
        /* Another one has the broadcast: what it writes is newer than what we remember. */
        if (code == 0 && !find_job(supervisor, attempt->broadcast))
            forget_checkpoint(supervisor, attempt->broadcast);
        forget_attempt(supervisor, attempt);
        return;
    }
    if (supervisor->is_draining || supervisor->jobs_count >= supervisor->capacity ||
        find_job(supervisor, attempt->broadcast)) {
        lease_release(lease);
        forget_attempt(supervisor, attempt);
        return;
    }
    log_info("broadcast.claimed", log_str("broadcast", attempt->broadcast), log_str("token", lease_token(lease)));
    supervisor->jobs[supervisor->jobs_count++] = job_create(&options, attempt->broadcast, lease);
    metric_set(supervisor->running, supervisor->jobs_count);
}

static void try_to_claim(struct supervisor *supervisor, const char *broadcast)
{
    struct attempt *attempt = alloc_zero(1, sizeof(*attempt));
    const struct lease_options options = {.key = key_of(attempt->key, KEY_LEASE_TRANSCODER, broadcast),
                                          .fence_key = KEY_FENCE,
                                          .holder = service_instance(supervisor->service),
                                          .alive_channel = supervisor->ping_channel,
                                          .on_lost = on_lease_lost,
                                          .context = attempt};

    attempt->supervisor = supervisor;
    snprintf(attempt->broadcast, sizeof(attempt->broadcast), "%s", broadcast);
    attempt->next = supervisor->attempts;
    supervisor->attempts = attempt;
    supervisor->attempts_count++;
    lease_try_acquire(service_loop(supervisor->service), supervisor->state, &options, on_acquired, attempt);
}

/* --- what there is to do --- */

static void on_streams(int code, const struct redisReply *reply, void *context)
{
    struct supervisor *supervisor = context;
    int tries = 0;

    supervisor->is_polling = false;
    if (code != 0 || reply->type != REDIS_REPLY_ARRAY || supervisor->is_draining || !supervisor->can_work)
        return;
    /* From a place of its own, so that many transcoders do not all ask for the same lease first. */
    const size_t offset = reply->elements > 0 ? random_below((uint32_t)reply->elements) : 0;
    for (size_t i = 0; i < reply->elements && tries < MAX_TRIES; i++) {
        const char *id = reply->element[(i + offset) % reply->elements]->str;

        if (!id || !id_is_valid(id) || find_job(supervisor, id) || is_avoided(supervisor, id))
            continue;
        if (supervisor->jobs_count + supervisor->attempts_count >= supervisor->capacity)
            return;
        tries++;
        try_to_claim(supervisor, id);
    }
}

struct question {
    struct supervisor *supervisor;
    char broadcast[ID_SIZE];
};

static void on_ring_exists(int code, const struct redisReply *reply, void *context)
{
    struct question *question = context;
    const char *args[] = {"ZREM", KEY_STREAMS, question->broadcast};
    struct job *job = find_job(question->supervisor, question->broadcast);

    /* Nobody knows the broadcast any more, and there is no media of it: nothing will ever come. */
    if (code == 0 && reply->type == REDIS_REPLY_INTEGER && reply->integer == 0) {
        log_info("broadcast.forgotten", log_str("broadcast", question->broadcast));
        redis_link_command(question->supervisor->state, NULL, NULL, 3, args, NULL);
        if (job)
            job_drain(job);
    }
    free(question);
}

static void on_state(int code, const struct redisReply *reply, void *context)
{
    struct question *question = context;
    struct job *job = find_job(question->supervisor, question->broadcast);
    char key[KEY_MAX];

    if (code == 0 && reply->type == REDIS_REPLY_STRING) {
        const enum broadcast_state state = broadcast_state_from_name(reply->str);
        if (job && (state == BROADCAST_ENDED || state == BROADCAST_ARCHIVED))
            job_end_broadcast(job);
    } else if (code == 0 && reply->type == REDIS_REPLY_NIL) {
        const char *args[] = {"EXISTS", key_of(key, KEY_MEDIA_RING, question->broadcast)};
        redis_link_command(question->supervisor->media, on_ring_exists, question, 2, args, NULL);
        return;
    }
    free(question);
}

static void ask_state(struct supervisor *supervisor, const char *broadcast)
{
    struct question *question = alloc_zero(1, sizeof(*question));
    char key[KEY_MAX];
    const char *args[] = {"HGET", key_of(key, KEY_BROADCAST, broadcast), "state"};

    question->supervisor = supervisor;
    snprintf(question->broadcast, sizeof(question->broadcast), "%s", broadcast);
    redis_link_command(supervisor->state, on_state, question, 3, args, NULL);
}

static void poll_now(struct supervisor *supervisor)
{
    const char *args[] = {"ZREVRANGE", KEY_STREAMS, "0", FIND_LIMIT};

    if (supervisor->is_polling || supervisor->is_draining || !redis_link_is_up(supervisor->state))
        return;
    supervisor->is_polling = true;
    for (int i = 0; i < supervisor->jobs_count; i++)
        ask_state(supervisor, job_broadcast(supervisor->jobs[i]));
    redis_link_command(supervisor->state, on_streams, supervisor, 4, args, NULL);
}

static void on_poll(evutil_socket_t fd, short what, void *context)
{
    poll_now(context);
}

static void on_message(const char *channel, const char *message, size_t len_bytes, void *context)
{
    struct supervisor *supervisor = context;
    struct broadcast_state_event event;
    struct job *job;

    if (strcmp(channel, CHANNEL_STREAM) == 0) {
        poll_now(supervisor);
    } else if (strcmp(channel, CHANNEL_BROADCAST) == 0 &&
               broadcast_state_event_parse(message, len_bytes, &event) == 0 &&
               (job = find_job(supervisor, event.id)) != NULL && event.state == BROADCAST_ENDED) {
        job_end_broadcast(job);
    }
}

static void on_resubscribed(bool first, void *context)
{
    poll_now(context);
}

static void on_state_up(void *context)
{
    struct supervisor *supervisor = context;

    checkpoint_keeper_for_each(supervisor->checkpoints, clock_monotonic_ms(), give_back, supervisor);
    metric_set(supervisor->checkpoints_kept, checkpoint_keeper_count(supervisor->checkpoints));
    poll_now(supervisor);
}

/* --- what GStreamer can do here --- */

static void on_probe_line(const char *line, void *context)
{
    struct supervisor *supervisor = context;

    snprintf(supervisor->why_not, sizeof(supervisor->why_not), "%s", line);
}

static void on_probe_exit(int code, void *context)
{
    struct supervisor *supervisor = context;

    child_process_destroy(supervisor->probe);
    supervisor->probe = NULL;
    supervisor->can_work = code == 0;
    if (code == 0) {
        /* The registry is complete now; children need not look at every plugin again. */
        setenv("GST_REGISTRY_UPDATE", "no", 1);
        setenv("GST_REGISTRY_FORK", "no", 1);
        log_info("codecs.found", log_str("codecs", supervisor->why_not));
        poll_now(supervisor);
    } else {
        log_error("codecs.missing", log_str("why", supervisor->why_not), log_int("code", code));
    }
}

static bool codecs_ready(void *context, char *why, size_t why_size)
{
    const struct supervisor *supervisor = context;

    if (!supervisor->can_work)
        snprintf(why, why_size, "%s", supervisor->probe ? "still looking" : supervisor->why_not);
    return supervisor->can_work;
}

static void start_probe(struct supervisor *supervisor)
{
    static const char *const arguments[] = {"probe", NULL};
    const struct child_process_options options = {service_loop(supervisor->service),
                                                  service_instance(supervisor->service),
                                                  arguments,
                                                  on_probe_line,
                                                  on_probe_exit,
                                                  supervisor};
    const char *directory = getenv("TMPDIR");
    char path[512];

    snprintf(path, sizeof(path), "%s/hanabi-gstreamer-%d.registry", directory ? directory : "/tmp", (int)getuid());
    setenv("GST_REGISTRY", path, 0);
    supervisor->probe = child_process_start(&options);
}

/* --- life --- */

static void create_metrics(struct supervisor *s)
{
    static const double bounds[] = {0.01, 0.03, 0.1, 0.3, 1, 3, 10};
    struct metrics *m = service_metrics(s->service);

#define COUNTER(name, help) metrics_counter(m, "hanabi_transcoder_" name, help, NULL)
    s->running = metrics_gauge(m, "hanabi_transcoder_broadcasts", "broadcasts worked on", NULL);
    metric_set(metrics_gauge(m, "hanabi_transcoder_capacity", "broadcasts at most", NULL), s->capacity);
    s->lag = metrics_gauge(m, "hanabi_transcoder_lag_seconds", "furthest that a child is behind its ring", NULL);
    s->effort = metrics_gauge(m, "hanabi_transcoder_shed_level", "0: all work is done … 3: least", NULL);
    s->checkpoints_kept = metrics_gauge(m, "hanabi_transcoder_checkpoints_kept", "for a Redis that loses them", NULL);
    s->restarts = COUNTER("child_restarts_total", "children that died");
    s->segments = COUNTER("segments_total", "segments handed over");
    s->frames = COUNTER("frames_total", "frames encoded, in all rungs each");
    s->dropped = COUNTER("frames_dropped_total", "frames left out: rate cap, load, late");
    s->repeated = COUNTER("frames_repeated_total", "frames repeated over gaps");
    s->silence = COUNTER("silence_seconds_total", "silence put in for missing sound");
    s->broken = COUNTER("broken_tags_total", "media that could not be read");
    s->rebases = COUNTER("timestamp_jumps_total", "jumps of publishers' clocks");
    s->skips = COUNTER("skips_total", "times that media was skipped for overload");
    s->push_time = metrics_histogram(m, "hanabi_transcoder_push_seconds", "from finished segment to queued", NULL,
                                     bounds, sizeof(bounds) / sizeof(bounds[0]));
#undef COUNTER
}

struct supervisor *supervisor_create(struct service *service, const struct transcoder_config *config)
{
    struct supervisor *s = alloc_zero(1, sizeof(*s));
    const struct redis_link_options link = {
        .name = "state", .metrics = service_metrics(service), .on_up = on_state_up, .context = s};
    const struct timeval period = {0, POLL_MS * 1000};

    s->service = service;
    s->config = config;
    s->capacity = config->capacity > 0 ? (int)config->capacity : 2 * (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (s->capacity > MAX_JOBS)
        s->capacity = MAX_JOBS;
    create_metrics(s);
    s->checkpoints = checkpoint_keeper_create(s->capacity);
    snprintf(s->ping_channel, sizeof(s->ping_channel), "%s%s", CHANNEL_PING, service_instance(service));
    const struct subscriber_options subscriber = {.ping_channel = s->ping_channel,
                                                  .metrics = service_metrics(service),
                                                  .on_resubscribed = on_resubscribed,
                                                  .on_message = on_message,
                                                  .context = s};
    s->state = redis_link_create(service_loop(service), config->redis_url, &link);
    s->subscriber = subscriber_create(service_loop(service), config->redis_url, &subscriber);
    const struct redis_link_options media = {.name = "media", .metrics = service_metrics(service)};
    s->media = redis_link_create(service_loop(service),
                                 config->media_redis_url[0] ? config->media_redis_url : config->redis_url, &media);
    if (!s->state || !s->media || !s->subscriber) {
        log_error("start.failed", log_str("why", "HANABI_REDIS_URL or HANABI_MEDIA_REDIS_URL is broken"));
        supervisor_destroy(s);
        return NULL;
    }
    subscriber_add(s->subscriber, CHANNEL_STREAM);
    subscriber_add(s->subscriber, CHANNEL_BROADCAST);
    service_add_dependency(service, "redis", redis_link_ready, s->state);
    service_add_dependency(service, "media_redis", redis_link_ready, s->media);
    service_add_dependency(service, "subscriber", subscriber_ready, s->subscriber);
    service_add_dependency(service, "codecs", codecs_ready, s);
    s->poll = event_new(service_loop(service), -1, EV_PERSIST, on_poll, s);
    event_add(s->poll, &period);
    start_probe(s);
    return s;
}

void supervisor_destroy(struct supervisor *supervisor)
{
    if (!supervisor)
        return;
    supervisor->is_draining = true;
    child_process_destroy(supervisor->probe);
    while (supervisor->jobs_count > 0)
        job_destroy(supervisor->jobs[--supervisor->jobs_count]);
    if (supervisor->poll)
        event_free(supervisor->poll);
    if (supervisor->subscriber)
        subscriber_destroy(supervisor->subscriber);
    if (supervisor->state)
        redis_link_destroy(supervisor->state);
    if (supervisor->media)
        redis_link_destroy(supervisor->media);
    while (supervisor->attempts)
        forget_attempt(supervisor, supervisor->attempts);
    checkpoint_keeper_destroy(supervisor->checkpoints);
    free(supervisor);
}

void supervisor_drain(struct supervisor *supervisor)
{
    supervisor->is_draining = true;
    for (int i = 0; i < supervisor->jobs_count; i++)
        job_drain(supervisor->jobs[i]);
    if (supervisor->jobs_count == 0)
        service_drained(supervisor->service);
}
