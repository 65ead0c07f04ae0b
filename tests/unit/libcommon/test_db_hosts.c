/* Several hosts and TLS, against real MariaDB servers: the one that takes writes is found, whichever it is; a server
 * whose certificate is not signed by our CA, or that has no TLS, is refused; a new certificate counts from the next
 * connection on. */
#include "certificates.h"
#include "libcommon/db_connection.h"
#include "real_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 4000

static struct real_server *first, *second;

static struct db_connection *connect_to(struct db_server *server, const char *options)
{
    char url[400], error[200];

    snprintf(url, sizeof(url), "mysql://root@127.0.0.1:%d,127.0.0.1:%d/hanabi%s", real_server_port(first),
             real_server_port(second), options);
    assert_int_equal(db_server_parse(url, server, error, sizeof(error)), 0);
    return db_connection_create(server, DEADLINE_MS);
}

/* The port of the server that a connection has reached. */
static int64_t port_of(struct db_connection *connection)
{
    struct db_result *rows = NULL;
    int64_t port;

    assert_int_equal(db_query(connection, "SELECT @@port", NULL, 0, 1, &rows), 0);
    port = db_result_int(rows, 0, 0);
    db_result_free(rows);
    return port;
}

static void set_read_only(const struct real_server *server, bool read_only)
{
    char command[200];

    /* root may write to a read-only server, so the tests write as a user who may not. */
    snprintf(command, sizeof(command),
             "mariadb --no-defaults -h127.0.0.1 -P%d -uroot -e \"CREATE USER IF NOT EXISTS app@'127.0.0.1'; "
             "GRANT ALL ON hanabi.* TO app@'127.0.0.1'; SET GLOBAL read_only=%d\"",
             real_server_port(server), read_only);
    assert_int_equal(system(command), 0);
}

static void test_the_writable_host_is_found(void **state)
{
    struct db_server server;
    struct db_connection *connection;
    char url[200], why[200] = "";

    set_read_only(first, true);
    set_read_only(second, false);
    snprintf(url, sizeof(url), "mysql://app@127.0.0.1:%d,127.0.0.1:%d/hanabi", real_server_port(first),
             real_server_port(second));
    assert_int_equal(db_server_parse(url, &server, why, sizeof(why)), 0);
    connection = db_connection_create(&server, DEADLINE_MS);
    assert_int_equal(db_connection_open(connection, why, sizeof(why)), 0);
    assert_int_equal(port_of(connection), real_server_port(second));
    assert_int_equal(db_exec(connection, "CREATE OR REPLACE TABLE h (id INT)", NULL, 0), 0);

    /* Demoted under us: the write tells, the line counts as lost, and the promoted one is found. */
    set_read_only(second, true);
    assert_int_equal(db_exec(connection, "INSERT INTO h VALUES (1)", NULL, 0), DB_LOST);
    assert_false(db_connection_is_good(connection));
    assert_int_equal(db_connection_open(connection, why, sizeof(why)), -1);
    assert_string_equal(why, "none of the database's hosts takes writes");
    set_read_only(first, false);
    assert_int_equal(db_connection_open(connection, why, sizeof(why)), 0);
    assert_int_equal(port_of(connection), real_server_port(first));

    /* Killed: the same. */
    real_server_kill(first);
    set_read_only(second, false);
    assert_int_equal(db_connection_open(connection, why, sizeof(why)), 0);
    assert_int_equal(port_of(connection), real_server_port(second));
    real_server_restart(first);
    db_connection_destroy(connection);
}

static void add_tls(struct real_server *server, const char *dir)
{
    char arg[200];

    snprintf(arg, sizeof(arg), "--ssl-cert=%s/cert.pem", dir);
    real_server_add_arg(server, arg);
    snprintf(arg, sizeof(arg), "--ssl-key=%s/key.pem", dir);
    real_server_add_arg(server, arg);
    real_server_kill(server);
    real_server_restart(server);
}

static void test_tls(void **state)
{
    char dir[64], options[200], why[300] = "", command[300];
    struct db_server server, other;
    struct db_connection *connection, *wrong;
    struct db_result *rows = NULL;

    certificates_make_dir(dir);
    certificates_make(dir, "old", "127.0.0.1");
    snprintf(options, sizeof(options), "?ca=%s/old-ca.pem", dir);

    snprintf(command, sizeof(command), "mysql://u@h/d?socket=/m&ca=%s/old-ca.pem", dir);
    assert_int_equal(db_check_url(command, why, sizeof(why)), 0);
    snprintf(command, sizeof(command), "mysql://u@h/d?ca=%s/key.pem", dir);
    assert_int_equal(db_check_url(command, why, sizeof(why)), -1);
    assert_non_null(strstr(why, "key.pem cannot be used: "));

    /* Asked for TLS, a server without it is refused. */
    connection = connect_to(&server, options);
    assert_int_equal(db_connection_open(connection, why, sizeof(why)), -1);

    add_tls(first, dir);
    assert_int_equal(db_connection_open(connection, why, sizeof(why)), 0);
    assert_int_equal(db_query(connection, "SHOW STATUS LIKE 'Ssl_cipher'", NULL, 0, 1, &rows), 0);
    assert_true(strlen(db_result_value(rows, 0, 1)) > 0);
    db_result_free(rows);

    /* The certificate is replaced under it: the line lives on; who trusts only another CA is refused before and welcome
     * after. */
    certificates_make(dir, "new", "127.0.0.1");
    snprintf(options, sizeof(options), "?ca=%s/new-ca.pem", dir);
    wrong = connect_to(&other, options);
    assert_int_equal(db_connection_open(wrong, why, sizeof(why)), -1);
    snprintf(command, sizeof(command), "mariadb --no-defaults -h127.0.0.1 -P%d -uroot -e 'FLUSH SSL'",
             real_server_port(first));
    assert_int_equal(system(command), 0);
    assert_int_equal(db_connection_open(wrong, why, sizeof(why)), 0);
    assert_int_equal(db_connection_ping(connection), 0);
    assert_int_equal(db_connection_open(connection, why, sizeof(why)), -1);
    db_connection_destroy(wrong);
    db_connection_destroy(connection);
    certificates_remove(dir);
}

static int start_servers(void **state)
{
    first = real_mariadb_start();
    second = real_mariadb_start();
    return 0;
}

static int stop_servers(void **state)
{
    real_server_destroy(first);
    real_server_destroy(second);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_writable_host_is_found),
        cmocka_unit_test(test_tls),
    };

    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
