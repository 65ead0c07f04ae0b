#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/buffer.h"
#include "services/ingest/rtmp_handshake.h"

#include <string.h>

#define ANSWER (1 + 2 * RTMP_HANDSHAKE_SIZE)

static struct rtmp_handshake handshake;
static struct buffer out;
static uint8_t hello[1 + 2 * RTMP_HANDSHAKE_SIZE]; /* C0, C1, C2 */

static int setup(void **state)
{
    rtmp_handshake_init(&handshake);
    buffer_init(&out, 65536);
    memset(hello, 0, sizeof(hello));
    hello[0] = 3;
    for (size_t i = 9; i < sizeof(hello); i++)
        hello[i] = (uint8_t)(i * 7);
    return 0;
}

static int teardown(void **state)
{
    buffer_clear(&out);
    return 0;
}

static void test_plain_in_every_slicing(void **state)
{
    for (size_t piece = 1; piece < 100; piece += 7) {
        size_t at = 0, taken;
        int done = 0;
        rtmp_handshake_init(&handshake);
        buffer_reset(&out);
        while (done == 0) {
            size_t len = sizeof(hello) - at < piece ? sizeof(hello) - at : piece;
            done = rtmp_handshake_feed(&handshake, hello + at, len, &taken, &out);
            assert_int_equal(taken, len);
            at += taken;
        }
        assert_int_equal(done, 1);
        assert_int_equal(at, sizeof(hello));
        assert_int_equal(out.len, ANSWER);
        assert_int_equal(out.data[0], 3);
        assert_memory_equal(out.data + 1 + RTMP_HANDSHAKE_SIZE, hello + 1, RTMP_HANDSHAKE_SIZE);
    }
}

/* What follows the handshake in the same read is left alone. */
static void test_takes_no_more_than_its_own(void **state)
{
    uint8_t more[sizeof(hello) + 10];
    size_t taken;

    memcpy(more, hello, sizeof(hello));
    assert_int_equal(rtmp_handshake_feed(&handshake, more, sizeof(more), &taken, &out), 1);
    assert_int_equal(taken, sizeof(hello));
}

static void test_digest_is_answered_with_digest(void **state)
{
    for (int layout = 0; layout < 2; layout++) {
        uint8_t *c1 = hello + 1, digest[32];
        size_t taken;
        setup(state);
        memcpy(c1 + 4, "\x80\x00\x07\x02", 4);
        size_t offset = rtmp_handshake_digest_offset(c1, layout);
        rtmp_handshake_digest(c1, offset, 0, c1 + offset);
        assert_int_equal(rtmp_handshake_feed(&handshake, hello, sizeof(hello), &taken, &out), 1);
        const uint8_t *s1 = out.data + 1;
        offset = rtmp_handshake_digest_offset(s1, layout);
        rtmp_handshake_digest(s1, offset, 1, digest);
        assert_memory_equal(s1 + offset, digest, sizeof(digest));
        assert_memory_not_equal(s1 + RTMP_HANDSHAKE_SIZE, c1, RTMP_HANDSHAKE_SIZE);
        buffer_clear(&out);
    }
}

static void test_other_protocols_are_refused_at_the_first_byte(void **state)
{
    size_t taken;

    assert_int_equal(rtmp_handshake_feed(&handshake, (const uint8_t *)"GET / HTTP/1.1\r\n", 16, &taken, &out), -1);
    assert_int_equal(out.len, 0);
    rtmp_handshake_init(&handshake);
    assert_int_equal(rtmp_handshake_feed(&handshake, (const uint8_t *)"\x06", 1, &taken, &out), -1); /* RTMPE */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plain_in_every_slicing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_takes_no_more_than_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(test_digest_is_answered_with_digest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_protocols_are_refused_at_the_first_byte, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
