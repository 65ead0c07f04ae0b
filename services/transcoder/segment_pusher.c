/* A push whose answer was lost may have been carried out. The checkpoint tells: it was written in the same step, and
 * names the segment after. */
#include "services/transcoder/segment_pusher.h"

#include "libcommon/alloc.h"
#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/redis_link.h"
#include "proto/keys.h"
#include "proto/scripts.h"
#include "proto/segment_entry.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

struct outgoing {
    struct outgoing *next;
    struct segment_entry entry;
    char *checkpoint;
    struct {
        uint8_t *bytes;
        size_t len_bytes;
    } parts[SEGMENT_MAX_RENDITIONS], thumbnail;
    int64_t queued_ms;
    bool is_doubtful; /* an answer to the script was lost */
};

struct segment_pusher {
    struct segment_pusher_options options;
    struct outgoing *first, **end;
    int count;
    bool is_busy, is_dead;
    int unanswered, failed;
    struct backoff backoff;
    struct event *retry;
};

static void begin(struct segment_pusher *pusher);

static void outgoing_free(struct outgoing *out)
{
    for (int i = 0; i < SEGMENT_MAX_RENDITIONS; i++)
        free(out->parts[i].bytes);
    free(out->thumbnail.bytes);
    free(out->checkpoint);
    free(out);
}

static void retry_later(struct segment_pusher *pusher)
{
    const int64_t delay_ms = backoff_next_ms(&pusher->backoff);

    const struct timeval delay = {delay_ms / 1000, delay_ms % 1000 * 1000};

    pusher->is_busy = false;
    evtimer_add(pusher->retry, &delay);
}

static void finish_first(struct segment_pusher *pusher)
{
    struct outgoing *out = pusher->first;
    const struct segment_pusher_options *options = &pusher->options;
    const int64_t number = out->entry.number, latency_ms = clock_monotonic_ms() - out->queued_ms;

    pusher->first = out->next;
    if (!pusher->first)
        pusher->end = &pusher->first;
    pusher->count--;
    pusher->is_busy = false;
    backoff_reset(&pusher->backoff);
    options->on_pushed(number, latency_ms, out->entry.final ? NULL : out->checkpoint, options->context);
    outgoing_free(out);
    begin(pusher);
}

static void on_script(int code, const struct redisReply *reply, void *context)
{
    struct segment_pusher *pusher = context;

    if (pusher->is_dead)
        return;
    if (code != 0) {
        pusher->first->is_doubtful = pusher->first->is_doubtful || code == REDIS_LINK_LOST;
        retry_later(pusher);
    } else if (reply->str && strcmp(reply->str, "fenced") == 0) {
        pusher->is_dead = true;
        pusher->options.on_fenced(pusher->options.context);
    } else {
        finish_first(pusher);
    }
}

static void push_entry(struct segment_pusher *pusher)
{
    const struct outgoing *out = pusher->first;
    char *entry = segment_entry_encode(&out->entry);
    const char *args[] = {pusher->options.broadcast, pusher->options.token, entry ? entry : "",
                          out->checkpoint ? out->checkpoint : "{}", out->entry.final ? "1" : "0"};

    redis_link_script(pusher->options.state, &script_segment_push, on_script, pusher, 5, args, NULL);
    free(entry);
}

static void on_checkpoint(int code, const struct redisReply *reply, void *context)
{
    struct segment_pusher *pusher = context;
    struct checkpoint checkpoint;

    if (pusher->is_dead)
        return;
    if (code != 0) {
        retry_later(pusher);
        return;
    }
    pusher->first->is_doubtful = false;
    const bool is_there = reply->type == REDIS_REPLY_STRING &&
                          checkpoint_parse(reply->str, (size_t)reply->len, &checkpoint) == 0 &&
                          checkpoint.number > pusher->first->entry.number;
    /* The end marker deletes the checkpoint, and may stand twice without harm. */
    if (is_there && !pusher->first->entry.final)
        finish_first(pusher);
    else
        push_entry(pusher);
}

static void on_part(int code, const struct redisReply *reply, void *context)
{
    struct segment_pusher *pusher = context;

    if (pusher->is_dead)
        return;
    pusher->failed += code != 0;
    if (--pusher->unanswered > 0)
        return;
    if (pusher->failed > 0)
        retry_later(pusher);
    else
        push_entry(pusher);
}

static void set_part(struct segment_pusher *pusher, const char *key, const uint8_t *bytes, size_t len_bytes)
{
    char expire[16];
    const char *args[] = {"SET", key, (const char *)bytes, "EX", expire};
    const size_t lens[] = {3, strlen(key), len_bytes, 2,
                           (size_t)snprintf(expire, sizeof(expire), "%d", SEGMENT_PART_EXPIRE_S)};

    redis_link_command(pusher->options.media, on_part, pusher, 5, args, lens);
}

static void begin(struct segment_pusher *pusher)
{
    struct outgoing *out = pusher->first;
    char key[KEY_MAX];

    if (!out || pusher->is_busy || pusher->is_dead)
        return;
    pusher->is_busy = true;
    if (out->is_doubtful) {
        const char *args[] = {"GET", key_of(key, KEY_CHECKPOINT, pusher->options.broadcast)};
        redis_link_command(pusher->options.state, on_checkpoint, pusher, 2, args, NULL);
        return;
    }
    if (out->entry.final) {
        push_entry(pusher);
        return;
    }
    pusher->failed = 0;
    /* One more than is sent: callbacks may come at once when the link is down. */
    pusher->unanswered = 1 + out->entry.renditions_count + (out->thumbnail.bytes ? 1 : 0);
    for (int i = 0; i < out->entry.renditions_count; i++)
        set_part(pusher, out->entry.renditions[i].parts[0].key, out->parts[i].bytes, out->parts[i].len_bytes);
    if (out->thumbnail.bytes)
        set_part(pusher, out->entry.thumbnail_key, out->thumbnail.bytes, out->thumbnail.len_bytes);
    on_part(0, NULL, pusher);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
    begin(context);
}

static void enqueue(struct segment_pusher *pusher, struct outgoing *out)
{
    out->queued_ms = clock_monotonic_ms();
    *pusher->end = out;
    pusher->end = &out->next;
    pusher->count++;
    begin(pusher);
}

static void fill_rendition(struct segment_pusher *pusher, struct outgoing *out, int i, struct finished_segment *media)
{
    const struct output_rendition *from = &media->plan->renditions[i];
    struct segment_rendition *to = &out->entry.renditions[i];

    snprintf(to->name, sizeof(to->name), "%s", from->name);
    to->width = from->width;
    to->height = from->height;
    to->frame_rate = media->plan->has_video ? (double)media->plan->rate_num / media->plan->rate_den : 0;
    snprintf(to->codecs, sizeof(to->codecs), "%s", media->codecs[i]);
    to->parts_count = 1;
    /* The token makes it unique: a fenced predecessor cannot write over it. */
    snprintf(to->parts[0].key, sizeof(to->parts[0].key), "%s%s:%s-%lld-%s", KEY_MEDIA_PART, pusher->options.broadcast,
             pusher->options.token, (long long)media->number, from->name);
    out->parts[i].bytes = buffer_take(&media->ts[i], &out->parts[i].len_bytes);
    to->parts[0].bytes = (int64_t)out->parts[i].len_bytes;
}

void segment_pusher_push(struct segment_pusher *pusher, const struct engine_segment *segment)
{
    struct outgoing *out = alloc_zero(1, sizeof(*out));
    struct finished_segment *media = segment->media;

    out->entry.session = segment->session;
    out->entry.number = media->number;
    out->entry.discontinuity = media->discontinuity;
    out->entry.program_date_time_ms = segment->program_date_time_ms;
    out->entry.media_time_us = media->start_us;
    out->entry.duration_us = media->end_us - media->start_us;
    out->entry.arrived_ms = segment->arrived_ms;
    out->entry.renditions_count = media->plan->count;
    for (int i = 0; i < media->plan->count; i++)
        fill_rendition(pusher, out, i, media);
    if (segment->thumbnail) {
        snprintf(out->entry.thumbnail_key, sizeof(out->entry.thumbnail_key), "%s%s:%s-%lld-thumbnail", KEY_MEDIA_PART,
                 pusher->options.broadcast, pusher->options.token, (long long)media->number);
        out->thumbnail.bytes = malloc(segment->thumbnail_len);
        if (!out->thumbnail.bytes)
            abort();
        memcpy(out->thumbnail.bytes, segment->thumbnail, segment->thumbnail_len);
        out->thumbnail.len_bytes = segment->thumbnail_len;
    }
    out->checkpoint = checkpoint_encode(segment->checkpoint);
    enqueue(pusher, out);
}

void segment_pusher_push_final(struct segment_pusher *pusher, int64_t session, int64_t number)
{
    struct outgoing *out = alloc_zero(1, sizeof(*out));

    out->entry.final = true;
    out->entry.session = session;
    out->entry.number = number;
    enqueue(pusher, out);
}

int segment_pusher_queued(const struct segment_pusher *pusher)
{
    return pusher->count;
}

struct segment_pusher *segment_pusher_create(const struct segment_pusher_options *options)
{
    struct segment_pusher *pusher = alloc_zero(1, sizeof(*pusher));

    pusher->options = *options;
    pusher->end = &pusher->first;
    backoff_init(&pusher->backoff, 50, 1000);
    pusher->retry = evtimer_new(options->loop, on_retry, pusher);
    if (!pusher->retry)
        abort();
    return pusher;
}

void segment_pusher_destroy(struct segment_pusher *pusher)
{
    if (!pusher)
        return;
    event_free(pusher->retry);
    while (pusher->first) {
        struct outgoing *next = pusher->first->next;
        outgoing_free(pusher->first);
        pusher->first = next;
    }
    free(pusher);
}
