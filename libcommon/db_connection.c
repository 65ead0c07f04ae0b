/* Any error that says the line is gone or out of step marks the connection lost; it then answers DB_LOST at once until
 * the worker has made a new one, so that a job cannot go on half in the old session and half in a new one. */
#include "libcommon/db_connection.h"

#include "libcommon/alloc.h"
#include "libcommon/db_statement.h"
#include "libcommon/log.h"
#include "libcommon/request_scope.h"
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

static int parse_hosts(const char *begin, const char *end, struct db_server *server)
{
    while (server->host_count < DB_MAX_HOSTS) {
        struct db_host *host = &server->hosts[server->host_count++];
        const char *comma = memchr(begin, ',', (size_t)(end - begin));

        if (url_part_host(begin, comma ? comma : end, 3306, host->name, sizeof(host->name), &host->port) != 0)
            return -1;
        if (!comma)
            return 0;
        begin = comma + 1;
    }
    return -1;
}

/* `options`: "" or "?name=value&…". */
static int parse_options(const char *options, struct db_server *server, char *error, size_t error_size)
{
    static const char socket_name[] = "socket=", ca_name[] = "ca=";

    while (*options) {
        const char *begin = options + 1, *end = begin + strcspn(begin, "&");

        if (strncmp(begin, socket_name, sizeof(socket_name) - 1) == 0) {
            if (url_part_decode(server->socket, sizeof(server->socket), begin + sizeof(socket_name) - 1, end) != 0 ||
                server->socket[0] != '/')
                return fail(error, error_size, "?socket= wants an absolute path of at most 107 bytes");
        } else if (strncmp(begin, ca_name, sizeof(ca_name) - 1) == 0) {
            if (url_part_decode(server->ca, sizeof(server->ca), begin + sizeof(ca_name) - 1, end) != 0 ||
                server->ca[0] != '/')
                return fail(error, error_size, "?ca= wants an absolute path of at most 255 bytes");
        } else {
            return fail(error, error_size, "the only options are ?socket=/path and ?ca=/path");
        }
        options = end;
    }
    return 0;
}

int db_server_parse(const char *url, struct db_server *server, char *error, size_t error_size)
{
    static const char scheme[] = "mysql://";

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
    if (parse_hosts(at + 1, slash, server) != 0)
        return fail(error, error_size, "must name host:port, or up to four with commas, after the @");

    const char *database_end = slash + 1 + strcspn(slash + 1, "?");
    if (url_part_decode(server->database, sizeof(server->database), slash + 1, database_end) != 0 ||
        !server->database[0])
        return fail(error, error_size, "must name a database of at most 64 bytes");
    return parse_options(database_end, server, error, error_size);
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

/* Everything that goes before the first byte on the line. */
static void set_options(struct db_connection *connection, unsigned seconds)
{
    const my_bool off = 0, on = 1;
    const unsigned no_local_infile = 0;
    const char *ca = connection->server->ca;

    mysql_options(connection->mysql, MYSQL_OPT_CONNECT_TIMEOUT, &seconds);
    mysql_options(connection->mysql, MYSQL_OPT_READ_TIMEOUT, &seconds);
    mysql_options(connection->mysql, MYSQL_OPT_WRITE_TIMEOUT, &seconds);
    mysql_options(connection->mysql, MYSQL_OPT_RECONNECT, &off);
    mysql_options(connection->mysql, MYSQL_OPT_LOCAL_INFILE, &no_local_infile);
    mysql_options(connection->mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    if (!ca[0])
        return;
    mysql_options(connection->mysql, MYSQL_OPT_SSL_ENFORCE, &on);
    mysql_options(connection->mysql, MYSQL_OPT_SSL_CA, ca);
    mysql_options(connection->mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &on);
}

/* A replica answers, but is the wrong one to write to. 1, 0 or -1: it did not say. */
static int takes_writes(struct db_connection *connection)
{
    static const char sql[] = "SELECT @@global.read_only";
    MYSQL_RES *result = NULL;
    MYSQL_ROW row;
    int answer = -1;

    if (mysql_real_query(connection->mysql, sql, sizeof(sql) - 1) == 0)
        result = mysql_store_result(connection->mysql);
    if (result && (row = mysql_fetch_row(result)) && row[0])
        answer = strcmp(row[0], "0") == 0;
    mysql_free_result(result);
    return answer;
}

static int open_host(struct db_connection *connection, const struct db_host *host, char *why, size_t why_size)
{
    const struct db_server *server = connection->server;
    unsigned seconds = (unsigned)((connection->timeout_ms + 999) / 1000);

    close_line(connection);
    connection->mysql = mysql_init(NULL);
    if (!connection->mysql)
        return fail(why, why_size, "out of memory");
    set_options(connection, seconds);
    /* "localhost" would mean the client library's own default socket to it. */
    const char *name = server->socket[0]                      ? "localhost"
                       : strcmp(host->name, "localhost") == 0 ? "127.0.0.1"
                                                              : host->name;
    if (!mysql_real_connect(connection->mysql, name, server->user, server->password, server->database,
                            (unsigned)host->port, server->socket[0] ? server->socket : NULL, 0) ||
        set_session(connection, seconds) != 0) {
        fail(why, why_size, mysql_error(connection->mysql));
        close_line(connection);
        return -1;
    }
    if (server->host_count > 1 && takes_writes(connection) != 1) {
        fail(why, why_size, "none of the database's hosts takes writes");
        close_line(connection);
        return -1;
    }
    connection->is_lost = false;
    return 0;
}

int db_connection_open(struct db_connection *connection, char *why, size_t why_size)
{
    const struct db_server *server = connection->server;

    for (size_t i = 0; i < server->host_count; i++) {
        size_t at = (connection->last_good_host + i) % server->host_count;

        if (open_host(connection, &server->hosts[at], why, why_size) == 0) {
            connection->last_good_host = at;
            return 0;
        }
    }
    return -1;
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
    case ER_OPTION_PREVENTS_STATEMENT: /* read-only: it was the primary and is no more */
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

/* The server's own logs, too, can be asked what a request did: its transaction stands between these two. (Statements
 * are prepared once for all requests, so they cannot carry it themselves; see db_statement.c for our log.) */
static int run_marked(struct db_connection *connection, const char *sql)
{
    char marked[64 + REQUEST_ID_SIZE];

    if (!request_scope_id()[0])
        return run_plain(connection, sql);
    snprintf(marked, sizeof(marked), "%s /* request_id=%s */", sql, request_scope_id());
    return run_plain(connection, marked);
}

int db_begin(struct db_connection *connection)
{
    return run_marked(connection, "START TRANSACTION");
}

int db_begin_read_committed(struct db_connection *connection)
{
    int code = run_plain(connection, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED");

    return code ? code : run_marked(connection, "START TRANSACTION");
}

int db_commit(struct db_connection *connection)
{
    return run_marked(connection, "COMMIT");
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
