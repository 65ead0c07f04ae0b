#include "services/transcoder/ring_reader.h"

#include "libcommon/alloc.h"
#include "libcommon/redis_link.h"
#include "proto/keys.h"
#include "proto/media_ring.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

#define BLOCK_MS    "1000"
#define DEADLINE_MS 3000
#define BATCH       "16" /* entries: 1.6 s of media, some hundred KB */
#define RETRY_MS    100

struct ring_reader {
    struct ring_reader_options options;
    struct redis_link *link;
    struct event *retry;
    char key[KEY_MAX];
    char after[MEDIA_ENTRY_ID_SIZE];
    struct media_entry *first, **end;
    bool is_started, is_asking, is_stale; /* stale: the answer under way is for an older start */
    bool is_drained;
    bool is_delivering;
};

struct media_entry *ring_reader_parse(const struct redisReply *reply)
{
    const redisReply *data = NULL;
    bool is_start = false, is_gap = false, is_end = false;
    int64_t session = 0;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_ARRAY)
        return NULL;
    const redisReply *fields = reply->element[1];
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        const redisReply *value = fields->element[i + 1];
        const char *name = fields->element[i]->str;

        if (!name || value->type != REDIS_REPLY_STRING)
            return NULL;
        if (strcmp(name, MEDIA_RING_SESSION) == 0)
            session = strtoll(value->str, NULL, 10);
        else if (strcmp(name, MEDIA_RING_KEY) == 0)
            is_start = true;
        else if (strcmp(name, MEDIA_RING_GAP) == 0)
            is_gap = true;
        else if (strcmp(name, MEDIA_RING_END) == 0)
            is_end = true;
        else if (strcmp(name, MEDIA_RING_DATA) == 0)
            data = value;
    }
    const char *id = reply->element[0]->str;
    struct media_entry *entry = media_entry_create(
        id, strtoll(id, NULL, 10), session, data ? (const uint8_t *)data->str : NULL, data ? (size_t)data->len : 0);
    entry->is_start = is_start;
    entry->is_gap = is_gap;
    entry->is_end = is_end;
    return entry;
}

static void ask(struct ring_reader *reader);

static void retry_later(struct ring_reader *reader)
{
    static const struct timeval delay = {0, RETRY_MS * 1000};

    evtimer_add(reader->retry, &delay);
}

static void take_reply(struct ring_reader *reader, const redisReply *reply)
{
    const redisReply *entries;

    reader->is_drained = true;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 || reply->element[0]->elements != 2)
        return;
    entries = reply->element[0]->element[1];
    for (size_t i = 0; i < entries->elements; i++) {
        struct media_entry *entry = ring_reader_parse(entries->element[i]);

        if (!entry)
            continue;
        snprintf(reader->after, sizeof(reader->after), "%s", entry->id);
        *reader->end = entry;
        reader->end = &entry->next;
        reader->is_drained = false;
    }
}

static void on_reply(int code, const struct redisReply *reply, void *context)
{
    struct ring_reader *reader = context;

    reader->is_asking = false;
    if (reader->is_stale) {
        reader->is_stale = false;
        ring_reader_kick(reader);
        return;
    }
    if (code != 0) {
        retry_later(reader);
        return;
    }
    take_reply(reader, reply);
    ring_reader_kick(reader);
}

static void ask(struct ring_reader *reader)
{
    const char *args[] = {"XREAD", "COUNT", BATCH, "BLOCK", BLOCK_MS, "STREAMS", reader->key, reader->after};

    if (reader->is_asking || !reader->is_started)
        return;
    if (!redis_link_is_up(reader->link)) {
        retry_later(reader);
        return;
    }
    reader->is_asking = true;
    redis_link_command_within(reader->link, DEADLINE_MS, on_reply, reader, 8, args, NULL);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
    ring_reader_kick(context);
}

void ring_reader_kick(struct ring_reader *reader)
{
    if (reader->is_delivering || !reader->is_started)
        return;
    reader->is_delivering = true; /* on_entry may come back here */
    while (reader->first && reader->options.wants_entry(reader->options.context)) {
        struct media_entry *entry = reader->first;

        reader->first = entry->next;
        if (!reader->first)
            reader->end = &reader->first;
        reader->options.on_entry(entry, reader->options.context);
    }
    reader->is_delivering = false;
    if (!reader->first)
        ask(reader);
}

static void drop_entries(struct ring_reader *reader)
{
    while (reader->first) {
        struct media_entry *next = reader->first->next;
        free(reader->first);
        reader->first = next;
    }
    reader->end = &reader->first;
}

/* The id before `id`: XREAD reads what comes behind. */
static void id_before(char out[MEDIA_ENTRY_ID_SIZE], const char *id)
{
    unsigned long long ms = 0, sequence = 0;

    if (sscanf(id, "%llu-%llu", &ms, &sequence) == 2 && sequence > 0)
        snprintf(out, MEDIA_ENTRY_ID_SIZE, "%llu-%llu", ms, sequence - 1);
    else if (ms > 0)
        snprintf(out, MEDIA_ENTRY_ID_SIZE, "%llu-18446744073709551615", ms - 1);
    else
        snprintf(out, MEDIA_ENTRY_ID_SIZE, "0");
}

void ring_reader_start(struct ring_reader *reader, const char *id, bool inclusive)
{
    drop_entries(reader);
    if (inclusive)
        id_before(reader->after, id);
    else
        snprintf(reader->after, sizeof(reader->after), "%s", id);
    reader->is_started = true;
    reader->is_drained = false;
    if (reader->is_asking)
        reader->is_stale = true;
    else
        ring_reader_kick(reader);
}

struct ring_reader *ring_reader_create(const struct ring_reader_options *options)
{
    const struct redis_link_options link_options = {.name = "ring"};
    struct ring_reader *reader = alloc_zero(1, sizeof(*reader));

    reader->options = *options;
    reader->end = &reader->first;
    key_of(reader->key, KEY_MEDIA_RING, options->broadcast);
    reader->retry = evtimer_new(options->loop, on_retry, reader);
    reader->link = redis_link_create(options->loop, options->url, &link_options);
    if (reader->retry && reader->link)
        return reader;
    ring_reader_destroy(reader);
    return NULL;
}

void ring_reader_destroy(struct ring_reader *reader)
{
    if (!reader)
        return;
    reader->is_started = false;
    if (reader->link)
        redis_link_destroy(reader->link);
    if (reader->retry)
        event_free(reader->retry);
    drop_entries(reader);
    free(reader);
}

int64_t ring_reader_lag_ms(const struct ring_reader *reader, int64_t now_ms)
{
    return reader->first && now_ms > reader->first->arrival_ms ? now_ms - reader->first->arrival_ms : 0;
}

bool ring_reader_is_drained(const struct ring_reader *reader)
{
    return reader->is_drained && !reader->first;
}
