#include "replay_source.h"

#include "libcommon/db.h"

#define ROWS 2000

/* Comments and hearts in one order: a total of hearts stands in front of what was said in its millisecond. Each part is
 * cut by itself, so that a batch costs as much as it holds, not as what is left.
 * Hearts settle by themselves, so the last total counts whenever it was written. */
static const char select_batch[] =
    "(SELECT at_ms, sequence, event FROM comments WHERE broadcast_id = ? AND at_ms >= ? AND at_ms < ? AND "
    "(at_ms > ? OR sequence > ?) AND deleted = 0 AND type <> 'deleted' ORDER BY at_ms, sequence LIMIT 2000) "
    "UNION ALL "
    "(SELECT at_ms, -1, CONCAT('{\"type\":\"love\",\"total\":', total, ',\"at_ms\":', at_ms, '}') FROM love_ticks "
    "WHERE broadcast_id = ? AND at_ms >= ? AND (at_ms > ? OR -1 > ?) ORDER BY at_ms LIMIT 2000) "
    "ORDER BY at_ms, sequence LIMIT 2000";

struct sink {
    struct replay *replay;
    struct replay_text *texts;
    size_t max_texts, count;
    int code;
};

/* False when there is room for no more, or no memory. */
static bool close_file(struct sink *sink, int64_t next_ms)
{
    struct replay_text *text = &sink->texts[sink->count];

    if (sink->count == sink->max_texts)
        return false;
    text->number = sink->replay->files - 1;
    text->text = replay_close_file(sink->replay, next_ms, &text->len_bytes);
    if (!text->text) {
        sink->code = REPLAY_NO_MEMORY;
        return false;
    }
    sink->count++;
    return true;
}

/* The rows of a batch, as far as their files have room; the cursor stands behind the last one that was taken. True when
 * all were. */
static bool take_rows(struct replay_source *source, const struct db_result *result, const struct timeline *timeline,
                      struct sink *sink)
{
    for (size_t i = 0; i < db_result_rows(result); i++) {
        int64_t at_ms = db_result_int(result, i, 0), media_ms = timeline_media_ms(timeline, at_ms);
        size_t len = db_result_len(result, i, 2);

        while (replay_is_full(sink->replay, media_ms, len))
            if (!close_file(sink, media_ms))
                return false;
        if (replay_add(sink->replay, db_result_value(result, i, 2), len, media_ms) != 0) {
            sink->code = REPLAY_NO_MEMORY;
            return false;
        }
        source->cursor = (struct replay_cursor){at_ms, db_result_int(result, i, 1)};
    }
    return true;
}

static void close_rest(struct replay_source *source, struct sink *sink)
{
    struct replay *replay = sink->replay;

    while (replay_has_next_minute(replay))
        if (!close_file(sink, replay->made[replay->files - 1].to_ms))
            return;
    if (sink->count == sink->max_texts)
        return;
    struct replay_text *text = &sink->texts[sink->count];

    text->number = replay->files - 1;
    text->text = replay_close_last(replay, &text->len_bytes);
    if (!text->text) {
        sink->code = REPLAY_NO_MEMORY;
        return;
    }
    sink->count++;
    source->is_over = true;
}

int replay_source_read(struct replay_source *source, struct db_connection *connection, const struct timeline *timeline,
                       struct replay *replay, struct replay_text *texts, size_t max_texts, size_t *count)
{
    struct sink sink = {.replay = replay, .texts = texts, .max_texts = max_texts};
    int code = 0;

    while (code == 0 && sink.code == 0 && sink.count == 0 && !source->is_read) {
        struct db_result *result = NULL;

        const struct db_param broadcast = db_str(source->broadcast), until = db_int(source->until_ms);
        const struct db_param at = db_int(source->cursor.at_ms), sequence = db_int(source->cursor.sequence);

        code = db_query(connection, select_batch,
                        DB_PARAMS(broadcast, at, until, at, sequence, broadcast, at, at, sequence), ROWS, &result);
        if (code == 0 && take_rows(source, result, timeline, &sink))
            source->is_read = db_result_rows(result) < ROWS;
        db_result_free(result);
    }
    if (code == 0 && sink.code == 0 && source->is_read && !source->is_over)
        close_rest(source, &sink);
    *count = sink.count;
    return code != 0 ? code : sink.code;
}
