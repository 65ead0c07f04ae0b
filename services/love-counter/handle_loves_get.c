/* GET …/loves and …/loves/ranking: from Redis while hearts are there, else from MySQL, where those of a broadcast that
 * is over stand. */
#include "love_counter.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/redis_link.h"
#include "proto/keys.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct question {
    struct love_counter *counter;
    struct http_request *request;
    char broadcast[ID_SIZE];
    char caller[ID_SIZE]; /* "": anonymous */
    bool ranking;
    int limit;
    bool is_known;  /* MySQL has the broadcast */
    json_t *answer; /* owned */
    int code;
};

static void question_free(struct question *question)
{
    json_decref(question->answer);
    free(question);
}

static json_t *entry_of(const char *user, const char *name, int64_t taps)
{
    return json_pack("{s:s,s:s,s:I}", "user_id", user, "name", name ? name : "", "count", (json_int_t)taps);
}

/* --- MySQL --- */

static int64_t one_number(struct db_connection *connection, struct question *question, const char *sql,
                          const struct db_param *params, size_t count)
{
    struct db_result *result = NULL;
    int64_t value = 0;

    if (question->code == 0)
        question->code = db_query(connection, sql, params, count, 1, &result);
    if (question->code == 0 && db_result_rows(result) == 1)
        value = db_result_int(result, 0, 0);
    db_result_free(result);
    return value;
}

static void read_own_rank(struct db_connection *connection, struct question *question)
{
    const struct db_param broadcast = db_str(question->broadcast), user = db_str(question->caller);
    int64_t taps =
        one_number(connection, question, "SELECT taps FROM love_users WHERE broadcast_id = ? AND user_id = ?",
                   DB_PARAMS(broadcast, user));
    int64_t above =
        one_number(connection, question, "SELECT COUNT(*) FROM love_users WHERE broadcast_id = ? AND taps > ?",
                   DB_PARAMS(broadcast, db_int(taps)));

    if (question->code == 0 && taps > 0)
        json_object_set_new(question->answer, "me",
                            json_pack("{s:I,s:I}", "rank", (json_int_t)above + 1, "count", (json_int_t)taps));
}

static void read_ranking(struct db_connection *connection, struct question *question)
{
    struct db_result *result = NULL;
    json_t *list = json_array();

    question->code =
        db_query(connection,
                 "SELECT user_id, user_name, taps FROM love_users WHERE broadcast_id = ?"
                 " ORDER BY taps DESC, user_id DESC LIMIT ?",
                 DB_PARAMS(db_str(question->broadcast), db_int(question->limit)), LOVE_RANKING_MAX, &result);
    for (size_t row = 0; question->code == 0 && row < db_result_rows(result); row++)
        json_array_append_new(list, entry_of(db_result_value(result, row, 0), db_result_value(result, row, 1),
                                             db_result_int(result, row, 2)));
    db_result_free(result);
    question->answer = json_pack("{s:o}", "ranking", list);
    if (question->caller[0])
        read_own_rank(connection, question);
}

static void run(struct db_connection *connection, void *context)
{
    struct question *question = context;
    const struct db_param broadcast = db_str(question->broadcast);

    question->is_known =
        one_number(connection, question, "SELECT COUNT(*) FROM broadcasts WHERE id = ?", DB_PARAMS(broadcast)) > 0;
    if (question->code != 0 || !question->is_known)
        return;
    if (question->ranking)
        read_ranking(connection, question);
    else
        question->answer =
            json_pack("{s:I}", "total",
                      (json_int_t)one_number(connection, question, "SELECT total FROM loves WHERE broadcast_id = ?",
                                             DB_PARAMS(broadcast)));
}

static void answer_from_mysql(struct question *question)
{
    char *body = json_dumps(question->answer, JSON_COMPACT);

    if (!body)
        abort();
    if (!question->caller[0])
        answer_cache_put(question->counter->answers, question->broadcast, question->ranking ? question->limit : 0, body,
                         clock_monotonic_ms());
    http_reply_bytes(question->request, 200, "application/json", body, strlen(body));
    free(body);
}

static void done(int code, void *context)
{
    struct question *question = context;

    if (code != 0 || question->code != 0)
        love_reply_unavailable(question->request, "hearts of what is over");
    else if (!question->is_known)
        http_reply_error(question->request, 404, "not_found", "there is no broadcast with this id");
    else
        answer_from_mysql(question);
    question_free(question);
}

static void ask_mysql(struct question *question)
{
    const char *kept = question->caller[0]
                           ? NULL
                           : answer_cache_get(question->counter->answers, question->broadcast,
                                              question->ranking ? question->limit : 0, clock_monotonic_ms());

    if (kept) {
        http_reply_bytes(question->request, 200, "application/json", kept, strlen(kept));
        question_free(question);
        return;
    }
    /* Redis' last callbacks come after the database has been taken down. */
    if (question->counter->db && db_submit(question->counter->db, run, done, question) == 0)
        return;
    love_reply_unavailable(question->request, "hearts of what is over");
    question_free(question);
}

/* --- Redis --- */

/* Redis has no hearts of it, and has lost none. On air or before, that is the answer: a whole audience asks when a
 * broadcast begins. */
static void on_state(int code, const redisReply *reply, void *context)
{
    struct question *question = context;
    enum broadcast_state state =
        code == 0 && reply->type == REDIS_REPLY_STRING ? broadcast_state_from_name(reply->str) : BROADCAST_UNKNOWN;

    if (state != BROADCAST_SCHEDULED && state != BROADCAST_LIVE && state != BROADCAST_SUSPENDED) {
        ask_mysql(question);
        return;
    }
    http_reply_json(question->request, 200,
                    question->ranking ? json_pack("{s:[]}", "ranking") : json_pack("{s:i}", "total", 0));
    question_free(question);
}

static void ask_state(struct question *question)
{
    char key[KEY_MAX];

    redis_link_command(question->counter->redis, on_state, question, 3,
                       (const char *[]){"HGET", key_of(key, KEY_BROADCAST, question->broadcast), "state"}, NULL);
}

/* A Redis that came back empty knows less than MySQL until keeper_seed.c has been at it. */
static void on_restored(int code, const redisReply *reply, void *context)
{
    struct question *question = context;

    if (code == 0 && reply->type == REDIS_REPLY_NIL)
        ask_mysql(question);
    else
        ask_state(question);
}

static void ask_restored(struct question *question)
{
    redis_link_command(question->counter->redis, on_restored, question, 2, (const char *[]){"GET", KEY_LOVE_RESTORED},
                       NULL);
}

static void answer_total(struct question *question, const redisReply *reply)
{
    http_reply_json(question->request, 200, json_pack("{s:I}", "total", (json_int_t)atoll(reply->str)));
    question_free(question);
}

static void on_total(int code, const redisReply *reply, void *context)
{
    struct question *question = context;
    bool is_answer = code == 0 && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2;

    if (is_answer && reply->element[1]->type == REDIS_REPLY_STRING)
        ask_mysql(question);
    else if (is_answer && reply->element[0]->type == REDIS_REPLY_STRING)
        answer_total(question, reply->element[0]);
    else
        ask_restored(question);
}

static void on_names(int code, const redisReply *reply, void *context)
{
    struct question *question = context;
    json_t *list = json_object_get(question->answer, "ranking");

    for (size_t i = 0; code == 0 && i < reply->elements && i < json_array_size(list); i++)
        if (reply->element[i]->type == REDIS_REPLY_STRING)
            json_object_set_new(json_array_get(list, i), "name", json_string(reply->element[i]->str));
    http_reply_json(question->request, 200, json_incref(question->answer));
    question_free(question);
}

static void ask_names(struct question *question)
{
    json_t *list = json_object_get(question->answer, "ranking");
    const char *args[2 + LOVE_RANKING_MAX];
    char key[KEY_MAX];
    int count = 2;

    args[0] = "HMGET";
    args[1] = key_of(key, KEY_LOVE_NAMES, question->broadcast);
    for (size_t i = 0; i < json_array_size(list); i++)
        args[count++] = json_string_value(json_object_get(json_array_get(list, i), "user_id"));
    redis_link_command(question->counter->redis, on_names, question, count, args, NULL);
}

static void on_own_score(int code, const redisReply *reply, void *context)
{
    struct question *question = context;
    json_t *me = json_object_get(question->answer, "me");

    if (code == 0 && reply->type == REDIS_REPLY_STRING && me)
        json_object_set_new(me, "count", json_integer(atoll(reply->str)));
    else
        json_object_del(question->answer, "me");
    ask_names(question);
}

static void on_own_rank(int code, const redisReply *reply, void *context)
{
    struct question *question = context;
    char key[KEY_MAX];

    if (code == 0 && reply->type == REDIS_REPLY_INTEGER)
        json_object_set_new(question->answer, "me", json_pack("{s:I}", "rank", (json_int_t)reply->integer + 1));
    redis_link_command(question->counter->redis, on_own_score, question, 3,
                       (const char *[]){"ZSCORE", key_of(key, KEY_LOVE_RANKING, question->broadcast), question->caller},
                       NULL);
}

static void on_ranking(int code, const redisReply *reply, void *context)
{
    struct question *question = context;
    json_t *list;
    char key[KEY_MAX];

    if (code != 0 || reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        ask_restored(question);
        return;
    }
    list = json_array();
    for (size_t i = 0; i + 1 < reply->elements; i += 2)
        json_array_append_new(list, entry_of(reply->element[i]->str, "", atoll(reply->element[i + 1]->str)));
    question->answer = json_pack("{s:o}", "ranking", list);
    if (question->caller[0])
        redis_link_command(
            question->counter->redis, on_own_rank, question, 3,
            (const char *[]){"ZREVRANK", key_of(key, KEY_LOVE_RANKING, question->broadcast), question->caller}, NULL);
    else
        ask_names(question);
}

/* --- the endpoints --- */

static struct question *question_create(struct love_counter *counter, struct http_request *request, const char *id)
{
    struct question *question = alloc_zero(1, sizeof(*question));

    question->counter = counter;
    question->request = request;
    snprintf(question->broadcast, sizeof(question->broadcast), "%s", id);
    return question;
}

void handle_loves_get(struct http_request *request, void *context)
{
    struct love_counter *counter = context;
    const char *id = love_require_broadcast(request);
    char key[KEY_MAX];

    if (id)
        redis_link_command(counter->redis, on_total, question_create(counter, request, id), 4,
                           (const char *[]){"HMGET", key_of(key, KEY_LOVE, id), "total", "seeding"}, NULL);
}

void handle_ranking_get(struct http_request *request, void *context)
{
    struct love_counter *counter = context;
    const char *id = love_require_broadcast(request), *limit = http_request_query(request, "limit");
    struct access_token caller = {.subject = ""};
    struct question *question;
    char key[KEY_MAX], last[24], *end = NULL;
    long most = limit ? strtol(limit, &end, 10) : LOVE_RANKING_MAX;

    if (!id || !http_auth_optional(request, counter->config.jwt_secret, &caller))
        return;
    if (limit && (*limit == '\0' || *end != '\0' || most < 1 || most > LOVE_RANKING_MAX)) {
        http_reply_error(request, 400, "invalid_limit", "limit is a number from 1 to 100");
        return;
    }
    question = question_create(counter, request, id);
    question->ranking = true;
    question->limit = (int)most;
    if (caller.subject[0])
        snprintf(question->caller, sizeof(question->caller), "%s", caller.subject);
    snprintf(last, sizeof(last), "%ld", most - 1);
    redis_link_command(counter->redis, on_ranking, question, 5,
                       (const char *[]){"ZREVRANGE", key_of(key, KEY_LOVE_RANKING, id), "0", last, "WITHSCORES"}, NULL);
}
