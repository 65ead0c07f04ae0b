#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/ingest/address_table.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static void key_v4(const char *text, uint8_t out[ADDRESS_KEY_SIZE])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = 77};

    inet_pton(AF_INET, text, &address.sin_addr);
    address_key((const struct sockaddr *)&address, out);
}

static void key_v6(const char *text, uint8_t out[ADDRESS_KEY_SIZE])
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};

    inet_pton(AF_INET6, text, &address.sin6_addr);
    address_key((const struct sockaddr *)&address, out);
}

static void test_counts_each_address(void **state)
{
    struct address_table *table = address_table_create(10);
    uint8_t a[ADDRESS_KEY_SIZE], b[ADDRESS_KEY_SIZE];

    key_v4("192.0.2.1", a);
    key_v4("192.0.2.2", b);
    assert_int_equal(address_table_add(table, a, 2), 0);
    assert_int_equal(address_table_add(table, a, 2), 0);
    assert_int_equal(address_table_add(table, a, 2), -1);
    assert_int_equal(address_table_add(table, b, 2), 0);
    address_table_remove(table, a);
    assert_int_equal(address_table_add(table, a, 2), 0);
    address_table_destroy(table);
}

static void test_v6_counts_by_network(void **state)
{
    uint8_t a[ADDRESS_KEY_SIZE], b[ADDRESS_KEY_SIZE], c[ADDRESS_KEY_SIZE];

    key_v6("2001:db8:0:1::1", a);
    key_v6("2001:db8:0:1:ffff::9", b);
    key_v6("2001:db8:0:2::1", c);
    assert_memory_equal(a, b, ADDRESS_KEY_SIZE);
    assert_memory_not_equal(a, c, ADDRESS_KEY_SIZE);
}

static void test_table_is_bounded_and_forgets(void **state)
{
    struct address_table *table = address_table_create(3);
    uint8_t key[ADDRESS_KEY_SIZE] = {4};

    for (uint8_t i = 0; i < 3; i++) {
        key[4] = i;
        assert_int_equal(address_table_add(table, key, 5), 0);
    }
    key[4] = 3;
    assert_int_equal(address_table_add(table, key, 5), -1);
    key[4] = 1;
    address_table_remove(table, key);
    key[4] = 3;
    assert_int_equal(address_table_add(table, key, 5), 0);
    address_table_destroy(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_each_address),
        cmocka_unit_test(test_v6_counts_by_network),
        cmocka_unit_test(test_table_is_bounded_and_forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
