/* Words a broadcaster does not allow: a kind that may lag. The list is read when the first viewer of the broadcast
 * comes and again when it has expired; a comment never waits for MySQL, it is held against the list that is there. */
#include "room.h"
#include "settings_memory.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"

#include <ctype.h>

struct job {
    struct broadcast *broadcast;
    char owner_id[ID_SIZE];
    struct db_result *rows;
    int code;
};

void words_clear(struct broadcast *broadcast)
{
    for (size_t i = 0; i < broadcast->word_count; i++)
        free(broadcast->words[i]);
    free(broadcast->words);
    broadcast->words = NULL;
    broadcast->word_count = 0;
}

static char *lower_copy(const char *text)
{
    char *copy = alloc_string(text);

    for (char *at = copy; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    return copy;
}

static void run(struct db_connection *connection, void *context)
{
    struct job *job = context;

    job->code = db_query(connection, "SELECT value FROM settings WHERE kind = 'words' AND subject = ? AND object = ''",
                         DB_PARAMS(db_str(job->owner_id)), 1, &job->rows);
}

static void take_list(struct broadcast *broadcast, const char *value)
{
    json_t *root = value ? json_loads(value, 0, NULL) : NULL;
    const json_t *words = json_object_get(root, "words"), *word;
    size_t i;

    words_clear(broadcast);
    broadcast->words = alloc_zero(json_array_size(words) + 1, sizeof(broadcast->words[0]));
    json_array_foreach(words, i, word)
    {
        if (json_is_string(word))
            broadcast->words[broadcast->word_count++] = lower_copy(json_string_value(word));
    }
    json_decref(root);
}

static void done(int code, void *context)
{
    struct job *job = context;
    struct broadcast *broadcast = job->broadcast;

    if (code == 0 && job->code == 0)
        take_list(broadcast, db_result_rows(job->rows) == 1 ? db_result_value(job->rows, 0, 0) : NULL);
    broadcast->words_loading = false;
    broadcast->words_until_ms = clock_monotonic_ms() + setting_kind_of(SETTING_WORDS)->expire_ms;
    broadcast->pending--;
    db_result_free(job->rows);
    free(job);
    broadcast_release(broadcast);
}

void words_refresh(struct broadcast *broadcast)
{
    struct job *job;

    if (broadcast->words_loading || !broadcast->owner_id[0] || clock_monotonic_ms() < broadcast->words_until_ms)
        return;
    job = alloc_zero(1, sizeof(*job));
    job->broadcast = broadcast;
    strcpy(job->owner_id, broadcast->owner_id);
    if (db_submit(broadcast->chat->db, run, done, job) != 0) {
        free(job);
        return;
    }
    broadcast->words_loading = true;
    broadcast->pending++;
}

bool words_allow(struct broadcast *broadcast, const char *text)
{
    bool is_allowed = true;
    char *lower;

    words_refresh(broadcast);
    if (broadcast->word_count == 0)
        return true;
    lower = lower_copy(text);
    for (size_t i = 0; i < broadcast->word_count && is_allowed; i++)
        is_allowed = strstr(lower, broadcast->words[i]) == NULL;
    free(lower);
    return is_allowed;
}
