/* Any error that says the line is gone or out of step marks the connection lost; it then answers DB_LOST at once until
 * the worker has made a new one, so that a job cannot go on half in the old session and half in a new one. */
#include "libcommon/db_connection.h"

#include "libcommon/alloc.h"
#include "libcommon/db_statement.h"
#include "libcommon/log.h"
#include "libcommon/url_part.h"

#include <errmsg.h>
#include <mysqld_error.h>
#include <poll.h>
#include <stdio.h>

/* Not in the client's list of server errors. */
#define ERROR_CONNECTION_KILLED 1927
#define ERROR_STATEMENT_TIMEOUT 1969

static int fail(char *error, size_t error_size, const char *sentence)
{
    if (error && error_size > 0)
        snprintf(error, error_size, "%s", sentence);
    return -1;
}

int db_server_parse(const char *url, struct db_server *server, char *error, size_t error_size)
{
    static const char scheme[] = "mysql://", socket_option[] = "?socket=";

    memset(server, 0, sizeof(*server));
    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
        return fail(error, error_size, "must begin with mysql://");
    const char *begin = url + sizeof(scheme) - 1;
    const char *slash = strchr(begin, '/');
    if (!slash)
        return fail(error, error_size, "must name a database: mysql://user:password@host:port/database");
    const char *at = memchr(begin, '@', (size_t)(slash - begin));
    if (!at || at == begin)
        return fail(error, error_size, "must name a user: mysql://user:password@host:port/database");
    const char *colon = memchr(begin, ':', (size_t)(at - begin));
    if (url_part_decode(server->user, sizeof(server->user), begin, colon ? colon : at) != 0 ||
        (colon && url_part_decode(server->password, sizeof(server->password), colon + 1, at) != 0))
        return fail(error, error_size, "user or password is too long or has a broken %XX");
    if (url_part_host(at + 1, slash, 3306, server->host, sizeof(server->host), &server->port) != 0)
        return fail(error, error_size, "must name host:port after the @");

    const char *database_end = slash + 1 + strcspn(slash + 1, "?");
    if (url_part_decode(server->database, sizeof(server->database), slash + 1, database_end) != 0 ||
        !server->database[0])
        return fail(error, error_size, "must name a database of at most 64 bytes");
    if (!*database_end)
        return 0;
    if (strncmp(database_end, socket_option, sizeof(socket_option) - 1) != 0)
        return fail(error, error_size, "the only option is ?socket=/path");
    const char *path = database_end + sizeof(socket_option) - 1;
    if (url_part_decode(server->socket, sizeof(server->socket), path, path + strlen(path)) != 0 ||
        server->socket[0] != '/')
        return fail(error, error_size, "?socket= wants an absolute path of at most 107 bytes");
    return 0;
}

struct db_connection *db_connection_create(const struct db_server *server, int64_t timeout_ms)
{
    struct db_connection *connection = alloc_zero(1, sizeof(*connection));

    connection->server = server;
    connection->timeout_ms = timeout_ms;
    connection->is_lost = true;
    return connection;
}

static void close_line(struct db_connection *connection)
{
    db_statements_clear(connection);
    if (connection->mysql)
        mysql_close(connection->mysql);
    connection->mysql = NULL;
    connection->is_lost = true;
}

void db_connection_destroy(struct db_connection *connection)
{
    if (!connection)
        return;
    close_line(connection);
    free(connection);
}

/* The server gives up before the client does (statement and lock waits), so that a slow statement is an error with a
 * known outcome more often than a lost line with an unknown one. */
static int set_session(struct db_connection *connection, unsigned seconds)
{
    char sql[320];

    snprintf(
        sql, sizeof(sql),
        "SET SESSION time_zone='+00:00',"
        "sql_mode='STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE,NO_ZERO_IN_DATE',"
        "max_statement_time=%u.%u,innodb_lock_wait_timeout=%u",
        seconds * 8 / 10, seconds * 8 % 10, seconds > 1 ? seconds - 1 : 1);
    return mysql_real_query(connection->mysql, sql, strlen(sql));
}

int db_connection_open(struct db_connection *connection, char *why, size_t why_size)
{
    const struct db_server *server = connection->server;
    unsigned seconds = (unsigned)((connection->timeout_ms + 999) / 1000);
    const my_bool off = 0;
    const unsigned no_local_infile = 0;

    close_line(connection);
    connection->mysql = mysql_init(NULL);
    if (!connection->mysql)
        return fail(why, why_size, "out of memory");
    mysql_options(connection->mysql, MYSQL_OPT_CONNECT_TIMEOUT, &seconds);
    mysql_options(connection->mysql, MYSQL_OPT_READ_TIMEOUT, &seconds);
    mysql_options(connection->mysql, MYSQL_OPT_WRITE_TIMEOUT, &seconds);
    mysql_options(connection->mysql, MYSQL_OPT_RECONNECT, &off);
    mysql_options(connection->mysql, MYSQL_OPT_LOCAL_INFILE, &no_local_infile);
    mysql_options(connection->mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    /* "localhost" would mean the client library's own default socket to it. */
    const char *host = server->socket[0]                        ? "localhost"
                       : strcmp(server->host, "localhost") == 0 ? "127.0.0.1"
                                                                : server->host;
    if (!mysql_real_connect(connection->mysql, host, server->user, server->password, server->database,
                            (unsigned)server->port, server->socket[0] ? server->socket : NULL, 0) ||
        set_session(connection, seconds) != 0) {
        fail(why, why_size, mysql_error(connection->mysql));
        close_line(connection);
        return -1;
    }
    connection->is_lost = false;
    return 0;
}

bool db_connection_is_good(struct db_connection *connection)
{
    if (connection->is_lost || !connection->mysql)
        return false;
    struct pollfd line = {.fd = (int)mysql_get_socket(connection->mysql), .events = POLLIN};

    /* Between jobs the server has nothing to say but good-bye. */
    if (poll(&line, 1, 0) != 0)
        connection->is_lost = true;
    return !connection->is_lost;
}

int db_connection_ping(struct db_connection *connection)
{
    if (!db_connection_is_good(connection) || mysql_ping(connection->mysql) != 0) {
        connection->is_lost = true;
        return -1;
    }
    return 0;
}

void db_connection_end_job(struct db_connection *connection)
{
    if (connection->is_lost || !(connection->mysql->server_status & SERVER_STATUS_IN_TRANS))
        return;
    log_error("db.transaction_left_open");
    db_rollback(connection);
}

int db_connection_fail(struct db_connection *connection, unsigned error, const char *text, const char *sql)
{
    switch (error) {
    case ER_DUP_ENTRY:
        return DB_DUPLICATE;
    case ER_LOCK_DEADLOCK:
    case ER_LOCK_WAIT_TIMEOUT:
        return DB_CONFLICT;
    case 0: /* a failure that nobody explains: the line may be out of step */
    case ER_SERVER_SHUTDOWN:
    case ER_QUERY_INTERRUPTED:
    case ERROR_CONNECTION_KILLED:
    case ERROR_STATEMENT_TIMEOUT:
    case CR_SERVER_GONE_ERROR:
    case CR_SERVER_LOST:
    case CR_SERVER_LOST_EXTENDED:
    case CR_COMMANDS_OUT_OF_SYNC:
    case CR_MALFORMED_PACKET:
    case CR_OUT_OF_MEMORY:
        connection->is_lost = true;
        log_warn("db.lost", log_int("error", error), log_str("why", text), log_str("sql", sql));
        return DB_LOST;
    default:
        log_error("db.statement_failed", log_int("error", error), log_str("why", text), log_str("sql", sql));
        return DB_FAILED;
    }
}

/* BEGIN and its kin are not worth preparing. */
static int run_plain(struct db_connection *connection, const char *sql)
{
    if (connection->is_lost)
        return DB_LOST;
    if (mysql_real_query(connection->mysql, sql, strlen(sql)) == 0)
        return 0;
    return db_connection_fail(connection, mysql_errno(connection->mysql), mysql_error(connection->mysql), sql);
}

int db_begin(struct db_connection *connection)
{
    return run_plain(connection, "START TRANSACTION");
}

int db_begin_read_committed(struct db_connection *connection)
{
    int code = run_plain(connection, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED");

    return code ? code : run_plain(connection, "START TRANSACTION");
}

int db_commit(struct db_connection *connection)
{
    return run_plain(connection, "COMMIT");
}

void db_rollback(struct db_connection *connection)
{
    /* On a lost line the server has rolled back, or will when it notices. If this fails, so must the line: an open
     * transaction must not reach the next job. */
    if (run_plain(connection, "ROLLBACK") != 0)
        connection->is_lost = true;
}

int64_t db_affected_rows(const struct db_connection *connection)
{
    return connection->affected_rows;
}

int64_t db_insert_id(const struct db_connection *connection)
{
    return connection->insert_id;
}

const char *db_strerror(int code)
{
    switch (code) {
    case 0:
        return "success";
    case DB_DOWN:
        return "no connection to the database";
    case DB_LOST:
        return "the connection to the database was lost";
    case DB_FAILED:
        return "the database refused the statement";
    case DB_DUPLICATE:
        return "the key exists already";
    case DB_CONFLICT:
        return "conflict with another transaction";
    case DB_FULL:
        return "too many database jobs are waiting";
    default:
        return "unknown";
    }
}
