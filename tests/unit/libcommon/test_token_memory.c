/* A token that was good once: it stays good until it ends, and nothing that differs from it is. */
#include "libcommon/token_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECRET "secret"

static char *sign(const char *subject, int64_t expires_s, const char *audience, const char *secret)
{
    struct access_token token = {.name = "Hanako 花子", .role = "viewer", .expires_s = expires_s};

    strcpy(token.subject, subject);
    strcpy(token.audience, audience);
    char *text = access_token_sign(&token, secret);
    assert_non_null(text);
    return text;
}

static void a_good_one_is_good_until_it_ends(void **state)
{
    struct token_memory *memory = token_memory_create(SECRET, 16);
    char *text = sign("hanako", 1000, "", SECRET);
    struct access_token token;

    for (int i = 0; i < 3; i++) {
        memset(&token, 0, sizeof(token));
        assert_int_equal(token_memory_verify(memory, text, 999, &token), 0);
        assert_string_equal(token.subject, "hanako");
        assert_string_equal(token.name, "Hanako 花子");
        assert_int_equal(token.expires_s, 1000);
    }
    assert_int_equal(token_memory_verify(memory, text, 1000, &token), ACCESS_TOKEN_EXPIRED);
    free(text);
    token_memory_destroy(memory);
}

static void what_differs_in_a_byte_is_refused(void **state)
{
    struct token_memory *memory = token_memory_create(SECRET, 1);
    char *text = sign("hanako", 1000, "", SECRET);
    size_t len = strlen(text);
    struct access_token token;

    for (size_t i = 0; i < len; i++) {
        char before = text[i];

        assert_int_equal(token_memory_verify(memory, text, 1, &token), 0);
        text[i] = before == 'A' ? 'z' : 'A';
        /* The last character holds bits that stand for nothing. */
        if (i < len - 1)
            assert_int_not_equal(token_memory_verify(memory, text, 1, &token), 0);
        text[i] = before;
    }
    assert_int_equal(token_memory_verify(memory, "", 1, &token), ACCESS_TOKEN_MISSING);
    assert_int_equal(token_memory_verify(memory, NULL, 1, &token), ACCESS_TOKEN_MISSING);
    text[len - 5] = '\0';
    assert_int_equal(token_memory_verify(memory, text, 1, &token), ACCESS_TOKEN_FORGED);
    free(text);
    token_memory_destroy(memory);
}

static void many_share_few_slots_and_nobody_is_taken_for_another(void **state)
{
    struct token_memory *memory = token_memory_create(SECRET, 4);
    struct access_token token;
    char *texts[40], name[16];

    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "user%d", i);
        texts[i] = sign(name, 1000, "", SECRET);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 40; i++) {
            snprintf(name, sizeof(name), "user%d", i);
            assert_int_equal(token_memory_verify(memory, texts[i], 1, &token), 0);
            assert_string_equal(token.subject, name);
        }
    }
    for (int i = 0; i < 40; i++)
        free(texts[i]);
    token_memory_destroy(memory);
}

static void a_bad_one_is_never_remembered(void **state)
{
    struct token_memory *memory = token_memory_create(SECRET, 1);
    char *forged = sign("eve", 1000, "", "another secret"), *elsewhere = sign("eve", 1000, "room", SECRET);
    struct access_token token;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(token_memory_verify(memory, forged, 1, &token), ACCESS_TOKEN_FORGED);
        assert_int_equal(token_memory_verify(memory, elsewhere, 1, &token), ACCESS_TOKEN_ELSEWHERE);
    }
    free(forged);
    free(elsewhere);
    token_memory_destroy(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_one_is_good_until_it_ends),
        cmocka_unit_test(what_differs_in_a_byte_is_refused),
        cmocka_unit_test(many_share_few_slots_and_nobody_is_taken_for_another),
        cmocka_unit_test(a_bad_one_is_never_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
