/* Prepared statements and results, for db_connection.c. The fields of a connection are shared by these two files only.
 */
#pragma once

#include "libcommon/db_connection.h"

#include <mysql.h>

#define DB_MAX_STATEMENTS 64

struct db_statement {
    char *sql;
    MYSQL_STMT *stmt;
    uint64_t last_use;
};

struct db_connection {
    const struct db_server *server;
    int64_t timeout_ms;
    MYSQL *mysql;
    bool is_lost;
    size_t last_good_host;
    int64_t affected_rows, insert_id;                  /* of the last good db_exec */
    struct db_statement statements[DB_MAX_STATEMENTS]; /* the one not used for longest makes room */
    size_t statement_count;
    uint64_t uses;
};

/* Closes all prepared statements. */
void db_statements_clear(struct db_connection *connection);
/* Translates an error into a db_error, logs what must be, marks the connection lost where the line is. Returns the
 * db_error. */
int db_connection_fail(struct db_connection *connection, unsigned error, const char *text, const char *sql);
