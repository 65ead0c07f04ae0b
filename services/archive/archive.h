/* State of the archive service. Today its first piece: comment logs move from Redis to MySQL all the time (mover.c,
 * comment_rows.c). Loop thread only, except where it says "on a database worker". */
#pragma once

#include "libcommon/config.h"
#include "proto/broadcast.h"
#include "proto/chat.h"

#include <jansson.h>

struct db;
struct db_connection;
struct mover;
struct redis_link;
struct service;
struct subscriber;

struct archive_config {
    const char *redis_url;
    const char *chat_redis_url;
    const char *mysql_url;
    int64_t batch;
    int64_t tail_entries;
    int64_t tail_ms;
};

struct archive {
    struct archive_config config;
    struct service *service;
    struct redis_link *redis; /* the chat Redis: logs, and the leases for them */
    struct subscriber *subscriber;
    struct db *db;
    struct mover *mover;
};

extern const struct config_row archive_config_rows[];

/* --- mover.c --- */

struct mover *mover_create(struct archive *archive);
/* Takes no new broadcast; service_drained() when the batches under way are done. */
void mover_drain(struct mover *mover);
/* After mover_drain(), and after the database and the link have called back. NULL is fine. */
void mover_destroy(struct mover *mover);

/* --- comment_rows.c --- */

/* An entry of a log, parsed. */
struct comment_row {
    struct chat_event_id id;
    char type[17];
    int room;     /* -1: all */
    char *event;  /* owned: as delivered */
    json_t *json; /* owned: the same; the texts below point into it, or are NULL */
    const char *user_id, *user_name, *text;
    struct chat_event_id target; /* of a deletion */
    bool is_deletion;
};

/* 0, or -1: not an entry of ours. */
int comment_row_parse(const char *id, const char *room, const char *e, size_t e_len, struct comment_row *row);
void comment_row_clear(struct comment_row *row);
/* On a database worker, in one transaction; a repetition changes nothing. 0 or a db_error. */
int comment_rows_write(struct db_connection *connection, const char *broadcast, const struct comment_row *rows,
                       size_t count);
