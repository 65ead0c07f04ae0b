#include "libcommon/access_token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jwt.h>
#include <stdlib.h>
#include <string.h>

static const struct access_token alice = {"user1", "Alice 花", "viewer", 2000};

static void test_a_signed_token_is_read_back(void **state)
{
    char *text = access_token_sign(&alice, "secret");
    struct access_token token;

    assert_non_null(text);
    assert_int_equal(access_token_verify(text, "secret", 1000, &token), 0);
    assert_string_equal(token.subject, "user1");
    assert_string_equal(token.name, "Alice 花");
    assert_string_equal(token.role, "viewer");
    assert_int_equal(token.expires_s, 2000);
    assert_int_equal(access_token_verify(text, "secret", 2000, &token), ACCESS_TOKEN_EXPIRED);
    assert_int_equal(access_token_verify(text, "other", 1000, &token), ACCESS_TOKEN_FORGED);
    free(text);
}

static void test_every_changed_byte_is_noticed(void **state)
{
    char *text = access_token_sign(&alice, "secret");
    struct access_token token;

    /* The last character of base64url carries bits that decode to nothing: it may change without changing the
     * signature. */
    for (size_t i = 0; i + 1 < strlen(text); i++) {
        char saved = text[i];

        text[i] = saved == 'A' ? 'B' : 'A';
        assert_int_not_equal(access_token_verify(text, "secret", 1000, &token), 0);
        text[i] = saved;
    }
    free(text);
}

static void test_a_token_for_one_audience(void **state)
{
    struct access_token bound = alice, token;
    char *text, *free_text = access_token_sign(&alice, "secret");

    strcpy(bound.audience, "b1");
    text = access_token_sign(&bound, "secret");
    assert_int_equal(access_token_verify_for("b1", text, "secret", 1000, &token), 0);
    assert_string_equal(token.audience, "b1");
    assert_int_equal(access_token_verify_for("b2", text, "secret", 1000, &token), ACCESS_TOKEN_ELSEWHERE);
    assert_int_equal(access_token_verify_for("b2", text, "secret", 3000, &token), ACCESS_TOKEN_EXPIRED);
    assert_int_equal(access_token_verify(text, "secret", 1000, &token), ACCESS_TOKEN_ELSEWHERE);
    assert_int_equal(access_token_verify_for("b2", free_text, "secret", 1000, &token), 0);
    assert_string_equal(token.audience, "");
    free(text);
    free(free_text);
}

static void test_what_is_no_token(void **state)
{
    struct access_token token;

    assert_int_equal(access_token_verify(NULL, "secret", 0, &token), ACCESS_TOKEN_MISSING);
    assert_int_equal(access_token_verify("", "secret", 0, &token), ACCESS_TOKEN_MISSING);
    assert_int_equal(access_token_verify("a.b.c", "secret", 0, &token), ACCESS_TOKEN_FORGED);
    /* {"alg":"none"} with the grants of an operator, unsigned. */
    assert_int_equal(
        access_token_verify(
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4IiwibmFtZSI6IngiLCJyb2xlIjoib3BlcmF0b3IiLCJleHAiOjk5OTk5OTk5OTl9.",
            "secret", 0, &token),
        ACCESS_TOKEN_FORGED);
}

static void test_a_subject_is_an_id(void **state)
{
    static const char *const odd[] = {"", "a b", "a ", "a:b", "a|b", "../a", "\xc3\xb3wner", "a\n"};
    struct access_token signed_one = alice, token;

    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        strcpy(signed_one.subject, odd[i]);
        char *text = access_token_sign(&signed_one, "secret");

        assert_int_equal(access_token_verify(text, "secret", 1000, &token), ACCESS_TOKEN_FORGED);
        free(text);
    }
}

static void test_a_long_name_is_cut_between_characters(void **state)
{
    static const char *const characters[] = {"a", "\xc3\xa9", "\xe8\x8a\xb1", "\xf0\x9f\x8e\x86"};
    struct access_token token;

    for (size_t c = 0; c < sizeof(characters) / sizeof(characters[0]); c++) {
        const size_t len = strlen(characters[c]);
        char name[150 * 4 + 1] = "";
        jwt_t *jwt = NULL;

        for (int i = 0; i < 150; i++)
            strcat(name, characters[c]);
        assert_int_equal(jwt_new(&jwt), 0);
        assert_int_equal(jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *)"secret", 6), 0);
        assert_int_equal(jwt_add_grant(jwt, "sub", "user1"), 0);
        assert_int_equal(jwt_add_grant(jwt, "name", name), 0);
        assert_int_equal(jwt_add_grant(jwt, "role", "viewer"), 0);
        assert_int_equal(jwt_add_grant_int(jwt, "exp", 2000), 0);
        char *text = jwt_encode_str(jwt);

        assert_int_equal(access_token_verify(text, "secret", 1000, &token), 0);
        assert_int_equal(strlen(token.name), 100 * len);
        assert_memory_equal(token.name, name, 100 * len);
        free(text);
        jwt_free(jwt);
    }
}

static void test_the_header(void **state)
{
    assert_string_equal(access_token_from_header("Bearer abc"), "abc");
    assert_string_equal(access_token_from_header("bearer  abc"), "abc");
    assert_null(access_token_from_header("Basic abc"));
    assert_null(access_token_from_header(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_signed_token_is_read_back),
        cmocka_unit_test(test_every_changed_byte_is_noticed),
        cmocka_unit_test(test_a_token_for_one_audience),
        cmocka_unit_test(test_what_is_no_token),
        cmocka_unit_test(test_a_subject_is_an_id),
        cmocka_unit_test(test_a_long_name_is_cut_between_characters),
        cmocka_unit_test(test_the_header),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
