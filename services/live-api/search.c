#include "search.h"

#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/service.h"

#include <event2/event.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRAM_SIZE 16 /* "+g", two code points of six digits, "*" or a space */

/* --- text --- */

char *search_normalise(const char *text)
{
    char *composed = g_utf8_normalize(text, -1, G_NORMALIZE_ALL_COMPOSE);
    char *folded = composed ? g_utf8_casefold(composed, -1) : NULL;
    /* Folding can leave what composes again. */
    char *normalised = folded ? g_utf8_normalize(folded, -1, G_NORMALIZE_ALL_COMPOSE) : NULL;
    char *copy = alloc_string(normalised ? normalised : "");

    g_free(composed);
    g_free(folded);
    g_free(normalised);
    return copy;
}

static gunichar next_char(const char **text)
{
    gunichar c = g_utf8_get_char(*text);

    *text = g_utf8_next_char(*text);
    return c;
}

char *search_grams(const char *normalised, bool as_question)
{
    const char *at = normalised, *mark = as_question ? "+" : "";
    char *out = alloc_zero(strlen(normalised) + 1, GRAM_SIZE);
    char *end = out;

    while (*at) {
        bool is_first = at == normalised || g_unichar_isspace(g_utf8_get_char(g_utf8_prev_char(at)));
        gunichar c = next_char(&at);

        if (g_unichar_isspace(c))
            continue;
        gunichar next = *at ? g_utf8_get_char(at) : 0;
        if (next && !g_unichar_isspace(next))
            end += sprintf(end, "%sg%06x%06x ", mark, (unsigned)c, (unsigned)next);
        else if (!as_question)
            end += sprintf(end, "g%06x ", (unsigned)c);
        else if (is_first)
            end += sprintf(end, "+g%06x* ", (unsigned)c);
    }
    return out;
}

int search_query_init(struct search_query *query, const char *text)
{
    char *normalised = search_normalise(text);
    gchar **words = g_strsplit_set(normalised, " \t\r\n", -1);
    int code = 0;

    query->word_count = 0;
    for (gchar **word = words; *word && code == 0; word++) {
        if (!**word)
            continue;
        if (query->word_count == SEARCH_WORDS_MAX)
            code = -1;
        else
            query->words[query->word_count++] = alloc_string(*word);
    }
    g_strfreev(words);
    free(normalised);
    return query->word_count > 0 ? code : -1;
}

void search_query_clear(struct search_query *query)
{
    for (size_t i = 0; i < query->word_count; i++)
        free(query->words[i]);
    query->word_count = 0;
}

/* --- SQL --- */

static int write_document(struct db_connection *connection, const char *sql, const char *broadcast_id,
                          const char *title, const char *owner_name)
{
    char *joined = g_strdup_printf("%s\n%s", title, owner_name);
    char *text = search_normalise(joined);
    char *grams = search_grams(text, false);
    int code = db_exec(connection, sql, DB_PARAMS(db_str(broadcast_id), db_str(text), db_str(grams)));

    g_free(joined);
    free(text);
    free(grams);
    return code;
}

int search_index(struct db_connection *connection, const char *broadcast_id, const char *title, const char *owner_name)
{
    return write_document(connection,
                          "INSERT INTO search_documents (broadcast_id, text, grams) VALUES (?, ?, ?)"
                          " ON DUPLICATE KEY UPDATE text = VALUES(text), grams = VALUES(grams)",
                          broadcast_id, title, owner_name);
}

int search_run(struct db_connection *connection, const struct search_query *query, struct broadcast_view *views,
               size_t *count)
{
    const char *state = query->state == BROADCAST_UNKNOWN ? NULL : broadcast_state_name(query->state);
    const char *words[SEARCH_WORDS_MAX];
    struct db_result *result = NULL;
    GString *question = g_string_new(NULL);

    for (size_t i = 0; i < SEARCH_WORDS_MAX; i++) {
        words[i] = i < query->word_count ? query->words[i] : ""; /* the empty word is in every text */
        char *grams = search_grams(words[i], true);
        g_string_append(question, grams);
        free(grams);
    }
    int code =
        db_query(connection,
                 "SELECT " BROADCAST_COLUMNS
                 " FROM search_documents s JOIN broadcasts b ON b.id = s.broadcast_id JOIN users u ON u.id = b.owner_id"
                 " WHERE MATCH (s.grams) AGAINST (? IN BOOLEAN MODE)"
                 " AND LOCATE(?, s.text) > 0 AND LOCATE(?, s.text) > 0 AND LOCATE(?, s.text) > 0"
                 " AND LOCATE(?, s.text) > 0 AND LOCATE(?, s.text) > 0 AND LOCATE(?, s.text) > 0"
                 " AND LOCATE(?, s.text) > 0 AND LOCATE(?, s.text) > 0"
                 " AND NOT EXISTS (SELECT 1 FROM archives p WHERE p.broadcast_id = b.id AND p.visibility = 'private')"
                 " AND IF(? IS NULL, b.state IN ('live', 'suspended', 'archived'), b.state = ?)"
                 " AND (b.created_at_ms < ? OR (b.created_at_ms = ? AND b.id < ?))"
                 " ORDER BY b.created_at_ms DESC, b.id DESC LIMIT ?",
                 DB_PARAMS(db_str(question->str), db_str(words[0]), db_str(words[1]), db_str(words[2]),
                           db_str(words[3]), db_str(words[4]), db_str(words[5]), db_str(words[6]), db_str(words[7]),
                           db_str(state), db_str(state), db_int(query->page.before), db_int(query->page.before),
                           db_str(query->page.before_key), db_int((int64_t)query->page.limit + 1)),
                 query->page.limit + 1, &result);

    g_string_free(question, TRUE);
    *count = code == 0 ? db_result_rows(result) : 0;
    for (size_t row = 0; row < *count; row++)
        broadcast_row_take(result, row, &views[row]);
    db_result_free(result);
    return code;
}

/* --- rows that are older than search --- */

#define INDEX_PAGE     200
#define INDEX_RETRY_MS 5000

struct search_indexer {
    struct live_api *api;
    struct event *timer;
};

struct index_job {
    struct search_indexer *indexer;
    size_t found;
    int code;
};

static void run_index(struct db_connection *connection, void *context)
{
    struct index_job *job = context;
    struct db_result *result = NULL;

    job->code = db_query(connection,
                         "SELECT b.id, b.title, u.name FROM broadcasts b JOIN users u ON u.id = b.owner_id"
                         " LEFT JOIN search_documents s ON s.broadcast_id = b.id WHERE s.broadcast_id IS NULL LIMIT ?",
                         DB_PARAMS(db_int(INDEX_PAGE)), INDEX_PAGE, &result);
    job->found = job->code == 0 ? db_result_rows(result) : 0;
    /* A document that came meanwhile is newer than what was read here. */
    for (size_t row = 0; row < job->found && job->code == 0; row++)
        job->code = write_document(
            connection, "INSERT IGNORE INTO search_documents (broadcast_id, text, grams) VALUES (?, ?, ?)",
            db_result_value(result, row, 0), db_result_value(result, row, 1), db_result_value(result, row, 2));
    db_result_free(result);
}

static void arm(struct search_indexer *indexer, int64_t delay_ms)
{
    const struct timeval delay = {delay_ms / 1000, delay_ms % 1000 * 1000};

    evtimer_add(indexer->timer, &delay);
}

static void done_index(int code, void *context)
{
    struct index_job *job = context;

    if (code != 0 || job->code != 0)
        arm(job->indexer, INDEX_RETRY_MS);
    else if (job->found > 0) {
        log_info("search.indexed", log_int("count", (int64_t)job->found));
        arm(job->indexer, 1); /* until there is none: requests come in between */
    }
    free(job);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    struct search_indexer *indexer = context;
    struct index_job *job = alloc_zero(1, sizeof(*job));

    job->indexer = indexer;
    if (live_api_submit(indexer->api, run_index, done_index, job) != 0)
        done_index(DB_FULL, job);
}

struct search_indexer *search_indexer_create(struct live_api *api)
{
    struct search_indexer *indexer = alloc_zero(1, sizeof(*indexer));

    indexer->api = api;
    indexer->timer = evtimer_new(service_loop(api->service), on_timer, indexer);
    if (!indexer->timer)
        abort();
    arm(indexer, 1);
    return indexer;
}

void search_indexer_destroy(struct search_indexer *indexer)
{
    if (!indexer)
        return;
    event_free(indexer->timer);
    free(indexer);
}
