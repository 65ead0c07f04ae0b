/* db_exec and db_query: prepare once per connection, bind, run, fetch. Values come back as text in one growing block
 * per result; a cell keeps an offset, since the block moves while it grows. */
#include "libcommon/db_statement.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>

#define MAX_PARAMS         512
#define MAX_COLUMNS        64
#define FIRST_FETCH_BYTES  256 /* longer values are fetched a second time with room enough */
#define MAX_RESULT_BYTES   (256u << 20)
#define ERROR_NOT_PREPARED 1295 /* the statement cannot be prepared */

struct db_cell {
    size_t offset; /* SIZE_MAX: SQL NULL */
    size_t len;
};

struct db_result {
    size_t rows, columns;
    struct db_cell *cells;
    size_t cell_capacity;
    char *text;
    size_t text_len, text_capacity;
};

struct db_param db_str(const char *string)
{
    return string ? db_bytes(string, strlen(string)) : (struct db_param){.type = DB_PARAM_NULL};
}

struct db_param db_int(int64_t integer)
{
    return (struct db_param){.type = DB_PARAM_INT, .integer = integer};
}

struct db_param db_bytes(const void *bytes, size_t len_bytes)
{
    return (struct db_param){.type = DB_PARAM_BYTES, .bytes = bytes, .len_bytes = len_bytes};
}

/* --- statements --- */

static void statement_clear(struct db_statement *statement)
{
    mysql_stmt_close(statement->stmt);
    free(statement->sql);
    *statement = (struct db_statement){0};
}

void db_statements_clear(struct db_connection *connection)
{
    while (connection->statement_count > 0)
        statement_clear(&connection->statements[--connection->statement_count]);
}

static struct db_statement *free_place(struct db_connection *connection)
{
    struct db_statement *oldest = &connection->statements[0];

    if (connection->statement_count < DB_MAX_STATEMENTS)
        return &connection->statements[connection->statement_count++];
    for (size_t i = 1; i < connection->statement_count; i++)
        if (connection->statements[i].last_use < oldest->last_use)
            oldest = &connection->statements[i];
    statement_clear(oldest);
    return oldest;
}

/* 0 with `stmt`; ERROR_NOT_PREPARED (positive) for the few statements that cannot be prepared; or a db_error. */
static int prepare(struct db_connection *connection, const char *sql, MYSQL_STMT **stmt)
{
    connection->uses++;
    for (size_t i = 0; i < connection->statement_count; i++) {
        struct db_statement *statement = &connection->statements[i];

        if (strcmp(statement->sql, sql) == 0) {
            statement->last_use = connection->uses;
            *stmt = statement->stmt;
            return 0;
        }
    }
    *stmt = mysql_stmt_init(connection->mysql);
    if (!*stmt)
        abort();
    if (mysql_stmt_prepare(*stmt, sql, strlen(sql)) != 0) {
        unsigned error = mysql_stmt_errno(*stmt);
        int code = error == ERROR_NOT_PREPARED ? ERROR_NOT_PREPARED
                                               : db_connection_fail(connection, error, mysql_stmt_error(*stmt), sql);

        mysql_stmt_close(*stmt);
        *stmt = NULL;
        return code;
    }
    *free_place(connection) = (struct db_statement){alloc_string(sql), *stmt, connection->uses};
    return 0;
}

static void bind_param(MYSQL_BIND *bind, const struct db_param *param)
{
    switch (param->type) {
    case DB_PARAM_NULL:
        bind->buffer_type = MYSQL_TYPE_NULL;
        break;
    case DB_PARAM_INT:
        bind->buffer_type = MYSQL_TYPE_LONGLONG;
        bind->buffer = (void *)(uintptr_t)&param->integer;
        break;
    case DB_PARAM_BYTES:
        /* As text: the server converts it to the column's type, and a BLOB takes it as it is. */
        bind->buffer_type = MYSQL_TYPE_STRING;
        bind->buffer = (void *)(uintptr_t)(param->bytes ? param->bytes : "");
        bind->buffer_length = (unsigned long)param->len_bytes;
        break;
    }
}

/* An error that comes instead of a row is left at the connection, not at the statement. */
static int fail_statement(struct db_connection *connection, MYSQL_STMT *stmt, const char *sql)
{
    if (mysql_stmt_errno(stmt) != 0)
        return db_connection_fail(connection, mysql_stmt_errno(stmt), mysql_stmt_error(stmt), sql);
    return db_connection_fail(connection, mysql_errno(connection->mysql), mysql_error(connection->mysql), sql);
}

/* Prepares, binds and runs. The caller fetches or frees the result. */
static int execute(struct db_connection *connection, const char *sql, const struct db_param *params, size_t count,
                   MYSQL_STMT **stmt)
{
    MYSQL_BIND binds[MAX_PARAMS] = {0};
    int64_t began_us = clock_monotonic_us();

    if (connection->is_lost)
        return DB_LOST;
    int code = prepare(connection, sql, stmt);
    if (code != 0)
        return code;
    if (count > MAX_PARAMS || mysql_stmt_param_count(*stmt) != count) {
        log_error("db.statement_failed", log_str("why", "wrong number of parameters"), log_str("sql", sql));
        return DB_FAILED;
    }
    for (size_t i = 0; i < count; i++)
        bind_param(&binds[i], &params[i]);
    if ((count > 0 && mysql_stmt_bind_param(*stmt, binds) != 0) || mysql_stmt_execute(*stmt) != 0)
        return fail_statement(connection, *stmt, sql);
    log_debug("db.statement", log_str("sql", sql), log_int("took_us", clock_monotonic_us() - began_us));
    return 0;
}

static int exec_plain(struct db_connection *connection, const char *sql)
{
    if (mysql_real_query(connection->mysql, sql, strlen(sql)) != 0)
        return db_connection_fail(connection, mysql_errno(connection->mysql), mysql_error(connection->mysql), sql);
    MYSQL_RES *rows = mysql_use_result(connection->mysql);
    if (rows)
        mysql_free_result(rows);
    connection->affected_rows = (int64_t)mysql_affected_rows(connection->mysql);
    connection->insert_id = (int64_t)mysql_insert_id(connection->mysql);
    return 0;
}

int db_exec(struct db_connection *connection, const char *sql, const struct db_param *params, size_t count)
{
    MYSQL_STMT *stmt = NULL;
    int code = execute(connection, sql, params, count, &stmt);

    if (code == ERROR_NOT_PREPARED && count == 0)
        return exec_plain(connection, sql);
    if (code != 0)
        return code < 0 ? code : DB_FAILED;
    connection->affected_rows = (int64_t)mysql_stmt_affected_rows(stmt);
    connection->insert_id = (int64_t)mysql_stmt_insert_id(stmt);
    if (mysql_stmt_field_count(stmt) > 0 && mysql_stmt_free_result(stmt) != 0)
        return fail_statement(connection, stmt, sql);
    return 0;
}

/* --- results --- */

/* Room for `len` bytes and a NUL at the end of the text; NULL: the result is too large. */
static char *text_reserve(struct db_result *result, size_t len)
{
    size_t needed = result->text_len + len + 1;

    if (needed > MAX_RESULT_BYTES)
        return NULL;
    if (needed > result->text_capacity) {
        size_t capacity = result->text_capacity ? result->text_capacity : 1024;

        while (capacity < needed)
            capacity *= 2;
        char *text = realloc(result->text, capacity);
        if (!text)
            return NULL;
        result->text = text;
        result->text_capacity = capacity;
    }
    return result->text + result->text_len;
}

static struct db_cell *add_row(struct db_result *result)
{
    size_t used = result->rows * result->columns;

    if (used + result->columns > result->cell_capacity) {
        size_t capacity = 2 * (used + result->columns);
        struct db_cell *cells = realloc(result->cells, capacity * sizeof(*cells));

        if (!cells)
            abort();
        result->cells = cells;
        result->cell_capacity = capacity;
    }
    result->rows++;
    return result->cells + used;
}

struct fetch {
    MYSQL_BIND binds[MAX_COLUMNS];
    unsigned long lens[MAX_COLUMNS];
    my_bool nulls[MAX_COLUMNS];
    my_bool cut[MAX_COLUMNS];
    char first[MAX_COLUMNS][FIRST_FETCH_BYTES];
};

static void fetch_init(struct fetch *fetch, size_t columns)
{
    memset(fetch->binds, 0, sizeof(fetch->binds));
    for (size_t i = 0; i < columns; i++) {
        fetch->binds[i].buffer_type = MYSQL_TYPE_STRING;
        fetch->binds[i].buffer = fetch->first[i];
        fetch->binds[i].buffer_length = FIRST_FETCH_BYTES;
        fetch->binds[i].length = &fetch->lens[i];
        fetch->binds[i].is_null = &fetch->nulls[i];
        fetch->binds[i].error = &fetch->cut[i];
    }
}

/* 0 or -1: too large, or the value could not be fetched. */
static int take_value(struct db_result *result, struct fetch *fetch, MYSQL_STMT *stmt, size_t column,
                      struct db_cell *cell)
{
    size_t len = fetch->lens[column];

    if (fetch->nulls[column]) {
        *cell = (struct db_cell){SIZE_MAX, 0};
        return 0;
    }
    char *text = text_reserve(result, len);
    if (!text)
        return -1;
    if (len <= FIRST_FETCH_BYTES) {
        memcpy(text, fetch->first[column], len);
    } else {
        MYSQL_BIND again = fetch->binds[column];

        again.buffer = text;
        again.buffer_length = (unsigned long)len;
        if (mysql_stmt_fetch_column(stmt, &again, (unsigned)column, 0) != 0)
            return -1;
    }
    text[len] = '\0';
    *cell = (struct db_cell){result->text_len, len};
    result->text_len += len + 1;
    return 0;
}

static int fetch_rows(struct db_connection *connection, MYSQL_STMT *stmt, const char *sql, size_t max_rows,
                      struct db_result *result)
{
    struct fetch fetch;

    fetch_init(&fetch, result->columns);
    if (mysql_stmt_bind_result(stmt, fetch.binds) != 0)
        return fail_statement(connection, stmt, sql);
    for (;;) {
        int status = mysql_stmt_fetch(stmt);

        if (status == MYSQL_NO_DATA)
            return 0;
        if (status != 0 && status != MYSQL_DATA_TRUNCATED)
            return fail_statement(connection, stmt, sql);
        if (result->rows == max_rows) {
            log_error("db.statement_failed", log_str("why", "more rows than asked for"), log_str("sql", sql));
            return DB_FAILED;
        }
        struct db_cell *cells = add_row(result);
        for (size_t i = 0; i < result->columns; i++) {
            if (take_value(result, &fetch, stmt, i, &cells[i]) != 0) {
                log_error("db.statement_failed", log_str("why", "result too large"), log_str("sql", sql));
                return DB_FAILED;
            }
        }
    }
}

int db_query(struct db_connection *connection, const char *sql, const struct db_param *params, size_t count,
             size_t max_rows, struct db_result **result)
{
    MYSQL_STMT *stmt = NULL;

    *result = NULL;
    int code = execute(connection, sql, params, count, &stmt);
    if (code != 0)
        return code < 0 ? code : DB_FAILED;
    struct db_result *rows = alloc_zero(1, sizeof(*rows));
    rows->columns = mysql_stmt_field_count(stmt);
    if (rows->columns == 0 || rows->columns > MAX_COLUMNS) {
        log_error("db.statement_failed", log_str("why", "no result, or too many columns"), log_str("sql", sql));
        code = DB_FAILED;
    } else {
        code = fetch_rows(connection, stmt, sql, max_rows, rows);
    }
    /* Reads what was not fetched off the line. */
    if (rows->columns > 0 && mysql_stmt_free_result(stmt) != 0 && code == 0)
        code = fail_statement(connection, stmt, sql);
    if (code == 0)
        *result = rows;
    else
        db_result_free(rows);
    return code;
}

size_t db_result_rows(const struct db_result *result)
{
    return result->rows;
}

static const struct db_cell *cell_at(const struct db_result *result, size_t row, size_t column)
{
    assert(row < result->rows && column < result->columns);
    return &result->cells[row * result->columns + column];
}

const char *db_result_value(const struct db_result *result, size_t row, size_t column)
{
    const struct db_cell *cell = cell_at(result, row, column);

    return cell->offset == SIZE_MAX ? NULL : result->text + cell->offset;
}

size_t db_result_len(const struct db_result *result, size_t row, size_t column)
{
    return cell_at(result, row, column)->len;
}

int64_t db_result_int(const struct db_result *result, size_t row, size_t column)
{
    const char *value = db_result_value(result, row, column);

    return value ? strtoll(value, NULL, 10) : 0;
}

void db_result_free(struct db_result *result)
{
    if (!result)
        return;
    free(result->cells);
    free(result->text);
    free(result);
}
