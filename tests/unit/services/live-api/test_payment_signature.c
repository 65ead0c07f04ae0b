/* Payments: only what is signed with the secret, over just these bytes and this time, and not long ago. */
#include "services/live-api/payment_signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECRET "secret"
#define BODY   "{\"coins\":5}"
#define NOW_S  1763719722

static char timestamp[24], signature[PAYMENT_SIGNATURE_SIZE];

static void sign(int64_t at_s)
{
    snprintf(timestamp, sizeof(timestamp), "%lld", (long long)at_s);
    payment_signature_make(SECRET, timestamp, BODY, strlen(BODY), signature);
}

static int check(const char *body)
{
    return payment_signature_check(SECRET, timestamp, signature, body, strlen(body), NOW_S);
}

/* As `openssl dgst -sha256 -hmac secret` says of "1763719722.{"coins":5}". */
static void test_the_signature_is_hmac_sha_256(void **state)
{
    sign(NOW_S);
    assert_string_equal(signature, "v1=81c410025d2a347b6c2be7103d9ad63aecf12e2d3d4baaa70a2bc988e5c528c5");
    assert_int_equal(check(BODY), 0);
}

static void test_every_changed_character_is_refused(void **state)
{
    sign(NOW_S);
    for (size_t i = 0; i < sizeof(signature) - 1; i++) {
        signature[i] ^= 1;
        assert_int_equal(check(BODY), PAYMENT_SIGNATURE_FORGED);
        signature[i] ^= 1;
    }
    assert_int_equal(check("{\"coins\":6}"), PAYMENT_SIGNATURE_FORGED);
    assert_int_equal(check(BODY " "), PAYMENT_SIGNATURE_FORGED);
    timestamp[0] ^= 1;
    assert_int_equal(check(BODY), PAYMENT_SIGNATURE_FORGED);
}

static void test_only_for_five_minutes(void **state)
{
    const struct {
        int64_t off_s;
        int expected;
    } cases[] = {{0, 0},
                 {PAYMENT_SIGNATURE_AGE_S, 0},
                 {-PAYMENT_SIGNATURE_AGE_S, 0},
                 {PAYMENT_SIGNATURE_AGE_S + 1, PAYMENT_SIGNATURE_OLD},
                 {-PAYMENT_SIGNATURE_AGE_S - 1, PAYMENT_SIGNATURE_OLD}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sign(NOW_S + cases[i].off_s);
        assert_int_equal(check(BODY), cases[i].expected);
    }
}

static void test_headers_that_are_none(void **state)
{
    const char *const odd[] = {NULL, "", "x", "-5", "1763719722 ", "+1763719722", "9999999999999"};

    sign(NOW_S);
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        assert_int_equal(payment_signature_check(SECRET, odd[i], signature, BODY, strlen(BODY), NOW_S),
                         PAYMENT_SIGNATURE_FORGED);
    assert_int_equal(payment_signature_check(SECRET, timestamp, NULL, BODY, strlen(BODY), NOW_S),
                     PAYMENT_SIGNATURE_FORGED);
    assert_int_equal(payment_signature_check(SECRET, timestamp, signature + 3, BODY, strlen(BODY), NOW_S),
                     PAYMENT_SIGNATURE_FORGED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_signature_is_hmac_sha_256),
        cmocka_unit_test(test_every_changed_character_is_refused),
        cmocka_unit_test(test_only_for_five_minutes),
        cmocka_unit_test(test_headers_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
