#include "replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD      "{\"events\":["
#define TAIL      "]}"
#define SLACK     64 /* of an event: the comma and its media_ms */
#define MAX_BYTES (REPLAY_FILE_MAX_BYTES + (128 << 10))

static struct replay_file *current(const struct replay *replay)
{
    return &replay->made[replay->files - 1];
}

/* Where the minute of `media_ms` ends; the end of the recording belongs to its last minute. */
static int64_t minute_end(const struct replay *replay, int64_t media_ms)
{
    int64_t end_ms = (media_ms / REPLAY_MINUTE_MS + 1) * REPLAY_MINUTE_MS;

    return end_ms < replay->duration_ms ? end_ms : replay->duration_ms;
}

static void begin_file(struct replay *replay, int64_t from_ms)
{
    if (replay->files == replay->capacity) {
        replay->capacity = replay->capacity ? replay->capacity * 2 : 64;
        replay->made = realloc(replay->made, replay->capacity * sizeof(*replay->made));
        if (!replay->made)
            abort();
    }
    replay->made[replay->files++] = (struct replay_file){.from_ms = from_ms, .to_ms = minute_end(replay, from_ms)};
    buffer_reset(&replay->text);
    if (buffer_append(&replay->text, HEAD, strlen(HEAD)) != 0)
        abort();
}

void replay_init(struct replay *replay, int64_t duration_ms)
{
    memset(replay, 0, sizeof(*replay));
    replay->duration_ms = duration_ms;
    buffer_init(&replay->text, MAX_BYTES);
    begin_file(replay, 0);
}

void replay_clear(struct replay *replay)
{
    buffer_clear(&replay->text);
    free(replay->made);
    replay->made = NULL;
}

bool replay_is_full(const struct replay *replay, int64_t media_ms, size_t len_bytes)
{
    const struct replay_file *file = current(replay);

    if (media_ms >= file->to_ms && file->to_ms < replay->duration_ms)
        return true;
    return file->count > 0 && replay->text.len + len_bytes + SLACK > REPLAY_FILE_MAX_BYTES;
}

int replay_add(struct replay *replay, const char *event, size_t len_bytes, int64_t media_ms)
{
    char member[SLACK];
    size_t before = replay->text.len;

    if (len_bytes < 2 || event[0] != '{' || event[len_bytes - 1] != '}')
        return -1;
    snprintf(member, sizeof(member), "%s\"media_ms\":%" PRId64 "}", len_bytes > 2 ? "," : "", media_ms);
    if ((current(replay)->count > 0 && buffer_append(&replay->text, ",", 1) != 0) ||
        buffer_append(&replay->text, event, len_bytes - 1) != 0 ||
        buffer_append(&replay->text, member, strlen(member)) != 0) {
        replay->text.len = before;
        return -1;
    }
    current(replay)->count++;
    replay->events++;
    return 0;
}

static char *take_text(struct replay *replay, size_t *len_bytes)
{
    char *text;

    if (buffer_append(&replay->text, TAIL, strlen(TAIL)) != 0)
        return NULL;
    text = malloc(replay->text.len);
    if (text)
        memcpy(text, replay->text.data, replay->text.len);
    *len_bytes = replay->text.len;
    return text;
}

bool replay_has_next_minute(const struct replay *replay)
{
    return current(replay)->to_ms < replay->duration_ms;
}

char *replay_close_file(struct replay *replay, int64_t next_ms, size_t *len_bytes)
{
    struct replay_file *file = current(replay);
    char *text = take_text(replay, len_bytes);

    if (!text)
        return NULL;
    /* Within its minute the file was too large, and the rest of the minute begins with the next event. */
    if (next_ms < file->to_ms || file->to_ms == replay->duration_ms)
        file->to_ms = next_ms;
    begin_file(replay, file->to_ms);
    return text;
}

char *replay_close_last(struct replay *replay, size_t *len_bytes)
{
    return take_text(replay, len_bytes);
}

void replay_file_name(char out[REPLAY_FILE_NAME_SIZE], size_t number)
{
    snprintf(out, REPLAY_FILE_NAME_SIZE, "%05zu.json", number);
}

char *replay_index(const struct replay *replay, size_t *len_bytes)
{
    char *text = NULL, name[REPLAY_FILE_NAME_SIZE];
    FILE *out = open_memstream(&text, len_bytes);

    if (!out)
        return NULL;
    fprintf(out, "{\"duration_ms\":%" PRId64 ",\"files\":[", replay->duration_ms);
    for (size_t i = 0; i < replay->files; i++) {
        const struct replay_file *file = &replay->made[i];

        replay_file_name(name, i);
        fprintf(out, "%s{\"from_ms\":%" PRId64 ",\"to_ms\":%" PRId64 ",\"url\":\"%s\",\"count\":%" PRId64 "}",
                i ? "," : "", file->from_ms, file->to_ms, name, file->count);
    }
    fprintf(out, "]}");
    return fclose(out) == 0 ? text : NULL;
}
