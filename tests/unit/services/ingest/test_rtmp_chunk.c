#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/ingest/rtmp_chunk.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct rtmp_chunk_limits limits = {
    .max_message_bytes = 100000, .max_chunk_bytes = 65536, .max_buffered_bytes = 120000};

/* A stream of chunks under construction. */
struct wire {
    uint8_t bytes[400000];
    size_t len;
};
static struct wire wire;

static void put(const void *bytes, size_t len)
{
    memcpy(wire.bytes + wire.len, bytes, len);
    wire.len += len;
}

static void put_be(uint32_t value, int size)
{
    for (int i = size - 1; i >= 0; i--)
        wire.bytes[wire.len++] = (uint8_t)(value >> (8 * i));
}

static void put_basic(int format, unsigned id)
{
    if (id < 64) {
        put_be((unsigned)format << 6 | id, 1);
    } else if (id < 320) {
        put_be((unsigned)format << 6, 1);
        put_be(id - 64, 1);
    } else {
        put_be((unsigned)format << 6 | 1, 1);
        put_be((id - 64) & 0xff, 1);
        put_be((id - 64) >> 8, 1);
    }
}

static void put_header(int format, unsigned id, uint32_t field, size_t len, uint8_t type)
{
    uint32_t short_field = field < 0xffffff ? field : 0xffffff;

    put_basic(format, id);
    if (format < 3)
        put_be(short_field, 3);
    if (format < 2) {
        put_be((uint32_t)len, 3);
        put_be(type, 1);
    }
    if (format == 0)
        put("\x01\x00\x00\x00", 4);
    if (format < 3 && short_field == 0xffffff)
        put_be(field, 4);
}

static void put_body(uint8_t first, size_t len)
{
    for (size_t i = 0; i < len; i++)
        wire.bytes[wire.len++] = (uint8_t)(first + i);
}

static void put_control(uint8_t type, uint32_t value)
{
    put_header(0, 2, 0, 4, type);
    put_be(value, 4);
}

struct seen {
    uint8_t type;
    uint32_t timestamp_ms;
    size_t len;
    uint8_t first;
    bool in_order;
};

/* Reads the wire in pieces of `piece` bytes. Returns the number of messages, or the error. */
static int read_all(size_t piece, struct seen *seen, int max)
{
    struct rtmp_chunk_reader *reader = rtmp_chunk_reader_create(&limits);
    int count = 0;

    for (size_t at = 0; at < wire.len;) {
        size_t left = wire.len - at < piece ? wire.len - at : piece;
        /* A copy of its own, so that a read beyond it is found. */
        uint8_t *bytes = malloc(left);
        memcpy(bytes, wire.bytes + at, left);
        at += left;
        for (const uint8_t *from = bytes;;) {
            struct rtmp_message message;
            size_t taken;
            enum rtmp_chunk_result result = rtmp_chunk_read(reader, from, left, &taken, &message);
            assert_true(taken <= left);
            from += taken;
            left -= taken;
            if (result < 0) {
                free(bytes);
                rtmp_chunk_reader_destroy(reader);
                return (int)result;
            }
            if (result == RTMP_CHUNK_MORE) {
                assert_int_equal(left, 0);
                break;
            }
            assert_true(count < max);
            seen[count] = (struct seen){message.type, message.timestamp_ms, message.len_bytes, 0, true};
            if (message.len_bytes > 0)
                seen[count].first = message.body[0];
            for (size_t i = 0; i < message.len_bytes; i++)
                seen[count].in_order &= message.body[i] == (uint8_t)(message.body[0] + i);
            count++;
        }
        free(bytes);
    }
    rtmp_chunk_reader_destroy(reader);
    return count;
}

static int setup(void **state)
{
    wire.len = 0;
    return 0;
}

static void assert_seen(const struct seen *seen, uint8_t type, uint32_t timestamp_ms, size_t len, uint8_t first)
{
    assert_int_equal(seen->type, type);
    assert_int_equal(seen->timestamp_ms, timestamp_ms);
    assert_int_equal(seen->len, len);
    assert_int_equal(seen->first, first);
    assert_true(seen->in_order);
}

/* Two messages whose chunks alternate, a third with every short form of header; in every slicing. */
static void test_interleaved_in_every_slicing(void **state)
{
    struct seen seen[8];

    put_header(0, 4, 1000, 200, 9);
    put_body(10, 128);
    put_header(0, 70, 1001, 150, 8);
    put_body(50, 128);
    put_basic(3, 4);
    put_body(10 + 128, 72);
    put_basic(3, 70);
    put_body((uint8_t)(50 + 128), 22);
    put_header(1, 4, 40, 3, 9);
    put_body(1, 3);
    put_header(2, 4, 20, 0, 0);
    put_body(2, 3);
    put_basic(3, 4);
    put_body(3, 3);
    put_header(1, 400, 7, 0, 8);
    for (size_t piece = 1; piece <= wire.len; piece++) {
        assert_int_equal(read_all(piece, seen, 8), 6);
        assert_seen(&seen[0], 9, 1000, 200, 10);
        assert_seen(&seen[1], 8, 1001, 150, 50);
        assert_seen(&seen[2], 9, 1040, 3, 1);
        assert_seen(&seen[3], 9, 1060, 3, 2);
        assert_seen(&seen[4], 9, 1080, 3, 3);
        assert_seen(&seen[5], 8, 7, 0, 0);
    }
}

static void put_extended(bool repeated)
{
    put_header(0, 6, 0x01000000, 300, 9);
    put_body(5, 128);
    for (size_t done = 128; done < 300; done += 128) {
        put_basic(3, 6);
        if (repeated)
            put_be(0x01000000, 4);
        put_body((uint8_t)(5 + done), 300 - done < 128 ? 300 - done : 128);
    }
    put_header(1, 6, 40, 2, 9);
    put_body(9, 2);
}

static void test_extended_timestamp_with_and_without_repetition(void **state)
{
    struct seen seen[4];

    for (int repeated = 0; repeated < 2; repeated++) {
        wire.len = 0;
        put_extended(repeated);
        for (size_t piece = 1; piece <= wire.len; piece++) {
            assert_int_equal(read_all(piece, seen, 4), 2);
            assert_seen(&seen[0], 9, 0x01000000, 300, 5);
            assert_seen(&seen[1], 9, 0x01000028, 2, 9);
        }
    }
}

/* Without repetition, a last chunk shorter than the four bytes that are looked at. */
static void test_extended_timestamp_short_tail(void **state)
{
    struct seen seen[4];

    put_header(0, 6, 0x02000000, 130, 9);
    put_body(5, 128);
    put_basic(3, 6);
    put_body((uint8_t)(5 + 128), 2);
    put_header(0, 4, 77, 3, 8);
    put_body(1, 3);
    for (size_t piece = 1; piece <= wire.len; piece++) {
        assert_int_equal(read_all(piece, seen, 4), 2);
        assert_seen(&seen[0], 9, 0x02000000, 130, 5);
        assert_seen(&seen[1], 8, 77, 3, 1);
    }
}

static void test_timestamps_wrap(void **state)
{
    struct seen seen[2];

    put_header(0, 4, 0xfffffff0, 1, 8);
    put_body(1, 1);
    put_header(1, 4, 0x20, 1, 8);
    put_body(2, 1);
    assert_int_equal(read_all(wire.len, seen, 2), 2);
    assert_int_equal(seen[0].timestamp_ms, 0xfffffff0);
    assert_int_equal(seen[1].timestamp_ms, 0x10);
}

static void test_chunk_size_changes(void **state)
{
    struct seen seen[2];

    put_control(RTMP_SET_CHUNK_SIZE, 4096);
    put_header(0, 4, 1, 4000, 9);
    put_body(3, 4000);
    put_control(RTMP_SET_CHUNK_SIZE, 1);
    put_header(0, 4, 2, 2, 9);
    put_body(7, 1);
    put_basic(3, 4);
    put_body(8, 1);
    assert_int_equal(read_all(1000, seen, 2), 2);
    assert_seen(&seen[0], 9, 1, 4000, 3);
    assert_seen(&seen[1], 9, 2, 2, 7);
}

static void test_abort_forgets_the_part(void **state)
{
    struct seen seen[2];

    put_header(0, 4, 1, 200, 9);
    put_body(3, 128);
    put_control(RTMP_ABORT, 4);
    put_header(0, 4, 2, 2, 9);
    put_body(7, 2);
    assert_int_equal(read_all(50, seen, 2), 1);
    assert_seen(&seen[0], 9, 2, 2, 7);
}

static void test_new_header_gives_up_the_part(void **state)
{
    struct seen seen[2];

    put_header(0, 4, 1, 200, 9);
    put_body(3, 128);
    put_header(0, 4, 2, 2, 9);
    put_body(7, 2);
    assert_int_equal(read_all(50, seen, 2), 1);
    assert_seen(&seen[0], 9, 2, 2, 7);
}

static void test_refusals(void **state)
{
    struct seen seen[1];

    put_header(0, 4, 1, 100001, 9);
    assert_int_equal(read_all(100, seen, 1), RTMP_CHUNK_MESSAGE_TOO_BIG);
    wire.len = 0;
    put_control(RTMP_SET_CHUNK_SIZE, 0);
    assert_int_equal(read_all(100, seen, 1), RTMP_CHUNK_SIZE_REFUSED);
    wire.len = 0;
    put_control(RTMP_SET_CHUNK_SIZE, 0x7fffffff);
    assert_int_equal(read_all(100, seen, 1), RTMP_CHUNK_SIZE_REFUSED);
    wire.len = 0;
    put_header(0, 2, 0, 2, RTMP_SET_CHUNK_SIZE);
    put_body(0, 2);
    assert_int_equal(read_all(100, seen, 1), RTMP_CHUNK_BROKEN);
    wire.len = 0;
    put_basic(3, 9);
    put_body(0, 20);
    assert_int_equal(read_all(100, seen, 1), RTMP_CHUNK_BROKEN);
}

/* Unfinished messages on many chunk streams: memory ends at the limit. */
static void test_unfinished_messages_are_bounded(void **state)
{
    struct seen seen[1];

    put_control(RTMP_SET_CHUNK_SIZE, 65536);
    for (unsigned id = 3; id < 6; id++) {
        put_header(0, id, 1, 90000, 9);
        put_body(1, 65536);
    }
    assert_int_equal(read_all(10000, seen, 1), RTMP_CHUNK_TOO_MUCH);
    wire.len = 0;
    for (unsigned id = 3; id < 3 + 65; id++) {
        put_header(0, id, 1, 200, 9);
        put_body(1, 128);
    }
    assert_int_equal(read_all(10000, seen, 1), RTMP_CHUNK_TOO_MUCH);
}

/* A promised length costs nothing until the bytes come. */
static void test_memory_follows_what_arrived(void **state)
{
    struct rtmp_chunk_reader *reader = rtmp_chunk_reader_create(&limits);
    struct rtmp_message message;
    size_t taken;

    put_header(0, 4, 1, 100000, 9);
    put_body(1, 100);
    assert_int_equal(rtmp_chunk_read(reader, wire.bytes, wire.len, &taken, &message), RTMP_CHUNK_MORE);
    assert_int_equal(rtmp_chunk_buffered_bytes(reader), 100);
    rtmp_chunk_reader_destroy(reader);
}

/* Whole messages on as many chunk streams as there may be: their buffers do not all stay. */
static void test_buffers_of_many_chunk_streams_go_back(void **state)
{
    struct rtmp_chunk_reader *reader = rtmp_chunk_reader_create(&limits);
    struct rtmp_message message;
    size_t taken;
    unsigned seen = 0;

    for (unsigned id = 3; id < 3 + 60; id++) {
        wire.len = 0;
        put_header(0, id, 1, 16000, 9);
        for (int left = 16000; left > 0; left -= 128) {
            put_body(1, 128);
            if (left > 128)
                put_header(3, id, 0, 0, 0);
        }
        seen += rtmp_chunk_read(reader, wire.bytes, wire.len, &taken, &message) == RTMP_CHUNK_MESSAGE;
    }
    assert_int_equal(rtmp_chunk_read(reader, wire.bytes, 0, &taken, &message), RTMP_CHUNK_MORE);
    assert_int_equal(seen, 60);
    assert_int_equal(rtmp_chunk_buffered_bytes(reader), 0);
    assert_in_range(rtmp_chunk_allocated_bytes(reader), 0, 64 * 1024);
    rtmp_chunk_reader_destroy(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_interleaved_in_every_slicing, setup),
        cmocka_unit_test_setup(test_extended_timestamp_with_and_without_repetition, setup),
        cmocka_unit_test_setup(test_extended_timestamp_short_tail, setup),
        cmocka_unit_test_setup(test_timestamps_wrap, setup),
        cmocka_unit_test_setup(test_chunk_size_changes, setup),
        cmocka_unit_test_setup(test_abort_forgets_the_part, setup),
        cmocka_unit_test_setup(test_new_header_gives_up_the_part, setup),
        cmocka_unit_test_setup(test_refusals, setup),
        cmocka_unit_test_setup(test_unfinished_messages_are_bounded, setup),
        cmocka_unit_test_setup(test_memory_follows_what_arrived, setup),
        cmocka_unit_test_setup(test_buffers_of_many_chunk_streams_go_back, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
