/* A connection to MariaDB and its prepared statements: what a worker of db.c owns. Blocking; one thread at a time. What
 * jobs may do with it is in db.h. */
#pragma once

#include "libcommon/db.h"

#define DB_MAX_HOSTS 4

struct db_host {
    char name[256];
    int port;
};

struct db_server {
    struct db_host hosts[DB_MAX_HOSTS]; /* of one replicated database; the one that takes writes is looked for */
    size_t host_count;
    char user[81];
    char password[256];
    char database[65];
    char socket[108]; /* empty: TCP */
    char ca[256];     /* PEM file; empty: no TLS. Read for each new connection, so that a new one counts at once */
};
/* 0, or -1 with a sentence (without the password) in `error`. */
int db_server_parse(const char *url, struct db_server *server, char *error, size_t error_size);

/* Not connected yet. `server` must live as long. */
struct db_connection *db_connection_create(const struct db_server *server, int64_t timeout_ms);
void db_connection_destroy(struct db_connection *connection);
/* Drops an old line and makes a new one, within about timeout_ms for each host. Of several hosts the first that can be
 * reached and takes writes (read_only off), beginning with the one that was good last. 0, or -1 with a phrase in `why`.
 */
int db_connection_open(struct db_connection *connection, char *why, size_t why_size);
/* False after the line broke, or when the server has closed it since (looked up without waiting). */
bool db_connection_is_good(struct db_connection *connection);
/* Asks the server. 0 or -1. */
int db_connection_ping(struct db_connection *connection);
/* After a job: a transaction that it left open is rolled back (and logged, being a fault). */
void db_connection_end_job(struct db_connection *connection);
