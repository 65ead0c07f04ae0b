/* Sealed tokens: the same for all in a window, refused when changed anywhere, of another kind, or past their end. */
#include "libcommon/sealed_token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct sealed_token_key key, other_purpose, other_secret;

static int set_up(void **state)
{
    sealed_token_key_init(&key, "a secret of the operator", "playout");
    sealed_token_key_init(&other_purpose, "a secret of the operator", "archive");
    sealed_token_key_init(&other_secret, "another secret", "playout");
    return 0;
}

static void test_round_trip(void **state)
{
    static const char payload[] = "{\"channel\":\"c1\"}";
    char token[SEALED_TOKEN_SIZE(sizeof(payload))], out[64];
    size_t len = 0;
    int64_t end = 0;

    assert_int_equal(sealed_token_seal(&key, payload, sizeof(payload), 5000, token, sizeof(token)), 0);
    assert_int_equal(strlen(token) + 1 <= sizeof(token), 1);
    assert_null(strpbrk(token, "+/="));
    assert_int_equal(sealed_token_open(&key, token, 4999, out, sizeof(out), &len, &end), 0);
    assert_int_equal(len, sizeof(payload));
    assert_memory_equal(out, payload, len);
    assert_int_equal(end, 5000);
}

static void test_same_for_all_in_a_window(void **state)
{
    char a[SEALED_TOKEN_SIZE(4)], b[SEALED_TOKEN_SIZE(4)];
    int64_t first = sealed_token_window_end(7200, 3600), last = sealed_token_window_end(10799, 3600);

    assert_int_equal(first, 14400);
    assert_int_equal(last, first);
    assert_int_equal(sealed_token_window_end(10800, 3600), 18000);
    assert_int_equal(sealed_token_seal(&key, "abcd", 4, first, a, sizeof(a)), 0);
    assert_int_equal(sealed_token_seal(&key, "abcd", 4, last, b, sizeof(b)), 0);
    assert_string_equal(a, b);
    assert_int_equal(sealed_token_seal(&key, "abcd", 4, 18000, b, sizeof(b)), 0);
    assert_string_not_equal(a, b);
}

static void test_changed_anywhere_is_refused(void **state)
{
    char token[SEALED_TOKEN_SIZE(10)], out[64];
    size_t len = 0;

    assert_int_equal(sealed_token_seal(&key, "0123456789", 10, 5000, token, sizeof(token)), 0);
    for (size_t i = 0; token[i]; i++) {
        for (int c = 1; c < 256; c++) {
            char kept = token[i];

            if ((char)c == kept)
                continue;
            token[i] = (char)c;
            assert_int_equal(sealed_token_open(&key, token, 1, out, sizeof(out), &len, NULL), SEALED_TOKEN_FORGED);
            token[i] = kept;
        }
    }
    token[strlen(token) - 1] = '\0';
    assert_int_equal(sealed_token_open(&key, token, 1, out, sizeof(out), &len, NULL), SEALED_TOKEN_FORGED);
    assert_int_equal(sealed_token_open(&key, "", 1, out, sizeof(out), &len, NULL), SEALED_TOKEN_FORGED);
}

static void test_other_keys_and_the_end(void **state)
{
    char token[SEALED_TOKEN_SIZE(4)], out[64];
    size_t len = 0;

    assert_int_equal(sealed_token_seal(&key, "abcd", 4, 5000, token, sizeof(token)), 0);
    assert_int_equal(sealed_token_open(&other_purpose, token, 1, out, sizeof(out), &len, NULL), SEALED_TOKEN_FORGED);
    assert_int_equal(sealed_token_open(&other_secret, token, 1, out, sizeof(out), &len, NULL), SEALED_TOKEN_FORGED);
    assert_int_equal(sealed_token_open(&key, token, 5000, out, sizeof(out), &len, NULL), SEALED_TOKEN_EXPIRED);
    assert_int_equal(sealed_token_open(&key, token, 1, out, 3, &len, NULL), SEALED_TOKEN_SIZE_LOW);
}

static void test_sizes(void **state)
{
    static char payload[SEALED_TOKEN_PAYLOAD_MAX + 1], token[SEALED_TOKEN_SIZE(sizeof(payload))], out[sizeof(payload)];
    size_t len = 0;

    assert_int_equal(sealed_token_seal(&key, payload, sizeof(payload), 9, token, sizeof(token)), SEALED_TOKEN_SIZE_LOW);
    assert_int_equal(sealed_token_seal(&key, payload, 10, 9, token, SEALED_TOKEN_SIZE(10) - 1), SEALED_TOKEN_SIZE_LOW);
    assert_int_equal(sealed_token_seal(&key, payload, SEALED_TOKEN_PAYLOAD_MAX, 9, token, sizeof(token)), 0);
    assert_int_equal(sealed_token_open(&key, token, 1, out, sizeof(out), &len, NULL), 0);
    assert_int_equal(len, SEALED_TOKEN_PAYLOAD_MAX);
    assert_int_equal(sealed_token_seal(&key, NULL, 0, 9, token, sizeof(token)), 0);
    assert_int_equal(sealed_token_open(&key, token, 1, out, sizeof(out), &len, NULL), 0);
    assert_int_equal(len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_same_for_all_in_a_window),
        cmocka_unit_test(test_changed_anywhere_is_refused),
        cmocka_unit_test(test_other_keys_and_the_end),
        cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
