/* Which addresses a request that an outsider caused may reach. */
#include "libcommon/public_address.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include <cmocka.h>

static bool is_public(const char *text)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1)
        return address_is_public((const struct sockaddr *)&ipv4);
    assert_int_equal(inet_pton(AF_INET6, text, &ipv6.sin6_addr), 1);
    return address_is_public((const struct sockaddr *)&ipv6);
}

static void test_public(void **state)
{
    static const char *const addresses[] = {
        "1.1.1.1",      "9.255.255.255",   "11.0.0.0",         "100.63.255.255",  "100.128.0.0",    "126.255.255.255",
        "128.0.0.1",    "172.15.255.255",  "172.32.0.0",       "192.167.255.255", "198.17.255.255", "223.255.255.255",
        "2606:4700::1", "2001:4860::8888", "64:ff9b::1.1.1.1", "::ffff:1.1.1.1",  "2002:101:101::"};

    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        if (!is_public(addresses[i]))
            fail_msg("%s is public", addresses[i]);
}

static void test_not_public(void **state)
{
    static const char *const addresses[] = {"0.0.0.0",
                                            "10.0.0.0",
                                            "10.255.255.255",
                                            "100.64.0.0",
                                            "127.0.0.1",
                                            "127.255.255.255",
                                            "169.254.169.254",
                                            "172.16.0.0",
                                            "172.31.255.255",
                                            "192.0.0.8",
                                            "192.0.2.1",
                                            "192.168.0.1",
                                            "198.18.0.1",
                                            "198.19.255.1",
                                            "198.51.100.1",
                                            "203.0.113.1",
                                            "224.0.0.1",
                                            "240.0.0.1",
                                            "255.255.255.255",
                                            "::",
                                            "::1",
                                            "::10.0.0.1",
                                            "fe80::1",
                                            "fc00::1",
                                            "fdff::1",
                                            "ff02::1",
                                            "::ffff:10.0.0.1",
                                            "2001:db8::1",
                                            "2001:0:1::1",
                                            "64:ff9b::127.0.0.1",
                                            "2002:a00:1::",
                                            "3fff:1::1",
                                            "64:ff9b:1::1",
                                            "100::1",
                                            "::ffff:0:0:1:1"};

    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        if (is_public(addresses[i]))
            fail_msg("%s is not public", addresses[i]);
    assert_false(address_is_public((const struct sockaddr *)&(struct sockaddr_un){.sun_family = AF_UNIX}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_public), cmocka_unit_test(test_not_public)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
