/* What an operator may write into the environment, and the sentence for what is wrong. */
#include "libcommon/config.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    const char *name;
    int64_t count;
    bool enabled;
    const char *mode;
    struct config_listen listen;
    const char *url;
    const char *optional_url;
};

static const char *const modes[] = {"fast", "slow", NULL};
static const char *const schemes[] = {"redis", "redis+sentinel", NULL};

static const struct config_row rows[] = {
    {"T_NAME", CONFIG_STRING, NULL, "the name", .offset = offsetof(struct settings, name)},
    {"T_COUNT", CONFIG_INT, "7", "how many", .min = -5, .max = 100, .offset = offsetof(struct settings, count)},
    {"T_ENABLED", CONFIG_BOOL, "true", "whether", .offset = offsetof(struct settings, enabled)},
    {"T_MODE", CONFIG_CHOICE, "fast", "how", .choices = modes, .offset = offsetof(struct settings, mode)},
    {"T_LISTEN", CONFIG_LISTEN, "127.0.0.1:80", "where", .offset = offsetof(struct settings, listen)},
    {"T_URL", CONFIG_URL, "redis://127.0.0.1:6379", "which", .choices = schemes, .secret = true,
     .offset = offsetof(struct settings, url)},
    {"T_OPTIONAL", CONFIG_URL, "", "which else", .choices = schemes, .offset = offsetof(struct settings, optional_url)},
    CONFIG_END,
};

static struct settings settings;
static char error[512];

static int load(void)
{
    error[0] = '\0';
    return config_load(rows, &settings, error, sizeof(error));
}

static int setup(void **state)
{
    for (const struct config_row *row = rows; row->name; row++)
        unsetenv(row->name);
    return setenv("T_NAME", "x", 1);
}

static int teardown(void **state)
{
    config_clear(rows, &settings);
    return settings.name || settings.mode || settings.url;
}

/* With this value the load fails and the sentence holds both texts. */
static void refuse(const char *name, const char *value, const char *expected)
{
    setenv(name, value, 1);
    assert_int_equal(load(), -1);
    if (!strstr(error, name) || !strstr(error, expected))
        fail_msg("%s=%s gave: %s", name, value, error);
    assert_null(settings.name); /* nothing is left half loaded */
    unsetenv(name);
}

static void test_defaults(void **state)
{
    assert_int_equal(load(), 0);
    assert_string_equal(settings.name, "x");
    assert_int_equal(settings.count, 7);
    assert_true(settings.enabled);
    assert_string_equal(settings.mode, "fast");
    assert_string_equal(settings.listen.host, "127.0.0.1");
    assert_int_equal(settings.listen.port, 80);
    assert_string_equal(settings.url, "redis://127.0.0.1:6379");
    assert_string_equal(settings.optional_url, "");
}

static void test_a_required_value_is_missing(void **state)
{
    unsetenv("T_NAME");
    assert_int_equal(load(), -1);
    assert_string_equal(error, "T_NAME is missing: the name");
    refuse("T_NAME", "", "is empty");
}

static void test_integers(void **state)
{
    static const char *const broken[] = {"", " 5", "5 ", "+5", "5k", "0x10", "-", "1.5", "99999999999999999999999"};

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        refuse("T_COUNT", broken[i], "from -5 to 100");
    refuse("T_COUNT", "101", "from -5 to 100");
    refuse("T_COUNT", "-6", "from -5 to 100");
    setenv("T_COUNT", "-5", 1);
    assert_int_equal(load(), 0);
    assert_int_equal(settings.count, -5);
}

static void test_booleans_and_choices(void **state)
{
    refuse("T_ENABLED", "yes", "expected true, false, 1 or 0");
    refuse("T_MODE", "Fast", "expected one of fast, slow");
    setenv("T_ENABLED", "0", 1);
    setenv("T_MODE", "slow", 1);
    assert_int_equal(load(), 0);
    assert_false(settings.enabled);
    assert_string_equal(settings.mode, "slow");
}

static void test_listen_addresses(void **state)
{
    static const char *const broken[] = {
        "",          "80",      ":80",     "127.0.0.1",      "127.0.0.1:", "127.0.0.1:65536", "::1:80",
        "[::1]",     "[::1:80", "[::1]80", "[127.0.0.1]:80", "127.0.0:80", "localhost:80",    "1.2.3.4:-1",
        "1.2.3.4:8x"};

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        refuse("T_LISTEN", broken[i], "expected an address and a port");
    setenv("T_LISTEN", "[::1]:0", 1);
    assert_int_equal(load(), 0);
    assert_string_equal(settings.listen.host, "::1");
    assert_int_equal(settings.listen.port, 0);
}

static void test_urls(void **state)
{
    static const char *const broken[] = {"redis", "redis://", "http://x", "redis:/x", "://x", "xredis://x"};

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        refuse("T_URL", broken[i], "redis://…, redis+sentinel://…");
    setenv("T_URL", "redis+sentinel://a:1,b:2/main", 1);
    assert_int_equal(load(), 0);
    assert_string_equal(settings.url, "redis+sentinel://a:1,b:2/main");
}

static void test_a_secret_is_not_in_the_sentence(void **state)
{
    setenv("T_URL", "http://user:hunter2@host", 1);
    assert_int_equal(load(), -1);
    assert_null(strstr(error, "hunter2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_required_value_is_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_integers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_booleans_and_choices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_listen_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_urls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_secret_is_not_in_the_sentence, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
