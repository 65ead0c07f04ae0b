#include "services/live-api/live_api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

static struct live_api api;

static void test_keys_differ_and_are_safe_in_a_url(void **state)
{
    char one[STREAM_KEY_SIZE], two[STREAM_KEY_SIZE];

    stream_key_make(one);
    stream_key_make(two);
    assert_string_not_equal(one, two);
    assert_true(strlen(one) >= 32 && strlen(one) < STREAM_KEY_SIZE);
    assert_true(id_is_valid(one));
}

static void test_the_hash_is_sha_256(void **state)
{
    char hash[STREAM_KEY_HASH_SIZE];

    stream_key_hash("abc", hash);
    assert_string_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_sealed_and_opened(void **state)
{
    char key[STREAM_KEY_SIZE], opened[STREAM_KEY_SIZE];
    uint8_t sealed[SECRET_SEALED_MAX], again[SECRET_SEALED_MAX];

    stream_key_make(key);
    size_t len = secret_seal(&api, key, sealed);
    assert_true(len <= SECRET_SEALED_MAX);
    assert_null(memmem(sealed, len, key, strlen(key)));
    assert_int_equal(secret_seal(&api, key, again), len);
    assert_memory_not_equal(sealed, again, len); /* a nonce of its own each time */
    assert_int_equal(secret_open(&api, sealed, len, opened, sizeof(opened)), 0);
    assert_string_equal(opened, key);
}

static void test_what_was_tampered_with_does_not_open(void **state)
{
    char key[STREAM_KEY_SIZE], opened[STREAM_KEY_SIZE];
    uint8_t sealed[SECRET_SEALED_MAX];

    stream_key_make(key);
    size_t len = secret_seal(&api, key, sealed);
    for (size_t i = 0; i < len; i++) {
        sealed[i] ^= 1;
        assert_int_equal(secret_open(&api, sealed, len, opened, sizeof(opened)), -1);
        sealed[i] ^= 1;
    }
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(secret_open(&api, sealed, cut, opened, sizeof(opened)), -1);
    api.seal_key[0] ^= 1;
    assert_int_equal(secret_open(&api, sealed, len, opened, sizeof(opened)), -1);
    api.seal_key[0] ^= 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_differ_and_are_safe_in_a_url),
        cmocka_unit_test(test_the_hash_is_sha_256),
        cmocka_unit_test(test_sealed_and_opened),
        cmocka_unit_test(test_what_was_tampered_with_does_not_open),
    };

    if (sodium_init() < 0)
        return 1;
    randombytes_buf(api.seal_key, sizeof(api.seal_key));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
