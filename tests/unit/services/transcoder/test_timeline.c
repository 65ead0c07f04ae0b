/* What publishers do with their clocks, and that the output goes on as if they did not.
 *
 * A publisher is simulated: video every 33 or 34 ms, audio every 21 or 22 ms of its own clock, merged in order of time;
 * what a test does to the timestamps is written down beside each message, so that the true distance of audio and video
 * is known for every pair of messages. */
#include "services/transcoder/timeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_MESSAGES 8192

struct message {
    enum timeline_stream stream;
    int64_t true_us; /* of the capture: what the viewer should see it at, up to one constant per session */
    uint32_t timestamp_ms;
    int32_t composition_ms;
    int64_t arrival_us;
    struct timeline_stamp stamp;
    enum timeline_event event;
};
static struct message messages[MAX_MESSAGES];
static int messages_count;

static int compare_messages(const void *left, const void *right)
{
    const struct message *a = left, *b = right;

    return a->arrival_us < b->arrival_us ? -1 : a->arrival_us > b->arrival_us;
}

/* `seconds` of capture from `from_s` on; audio is sent `audio_late_ms` after video of the same time. */
static void capture(double from_s, double seconds, uint32_t first_timestamp_ms, bool video, bool audio,
                    int audio_late_ms)
{
    int first = messages_count;

    for (int stream = 0; stream < TIMELINE_STREAMS; stream++)
        for (int i = 0; stream == TIMELINE_VIDEO ? video : audio; i++) {
            int64_t at_us = stream == TIMELINE_VIDEO ? i * 1000000LL / 30 : i * 64000LL / 3;
            if (at_us >= (int64_t)(seconds * 1e6))
                break;
            assert_true(messages_count < MAX_MESSAGES);
            struct message *message = &messages[messages_count++];
            *message = (struct message){.stream = stream};
            message->true_us = (int64_t)(from_s * 1e6) + at_us / 1000 * 1000;
            message->timestamp_ms = first_timestamp_ms + (uint32_t)(at_us / 1000);
            message->arrival_us = 1763716182000000 + (int64_t)(from_s * 1e6) + at_us +
                                  (stream == TIMELINE_AUDIO ? audio_late_ms * 1000 + 1 : 0);
        }
    qsort(messages + first, (size_t)(messages_count - first), sizeof *messages, compare_messages);
}

static void feed(struct timeline *timeline, int from, int to)
{
    for (int i = from; i < to; i++) {
        struct message *message = &messages[i];
        message->event = timeline_map(timeline, message->stream, message->timestamp_ms, message->composition_ms,
                                      message->arrival_us, &message->stamp);
    }
}

static int count_events(enum timeline_event event, int from, int to)
{
    int count = 0;

    for (int i = from; i < to; i++)
        count += messages[i].event == event;
    return count;
}

static void assert_rising(void)
{
    int64_t last[TIMELINE_STREAMS] = {-(INT64_C(1) << 60), -(INT64_C(1) << 60)};

    for (int i = 0; i < messages_count; i++) {
        assert_true(messages[i].stamp.dts_us > last[messages[i].stream]);
        assert_true(messages[i].stamp.pts_us >= messages[i].stamp.dts_us);
        last[messages[i].stream] = messages[i].stamp.dts_us;
    }
}

/* Audio and video of the messages from..to that were captured within 50 ms of one another are as far apart on the
 * output as they were then. Returns the number of pairs compared. */
static int assert_together(int from, int to, int64_t tolerance_us)
{
    int pairs = 0;

    for (int i = from; i < to; i++)
        for (int k = i + 1; k < to && k < i + 40; k++) {
            int64_t apart = messages[k].true_us - messages[i].true_us;
            if (messages[i].stream == messages[k].stream || apart < -50000 || apart > 50000)
                continue;
            int64_t out = messages[k].stamp.dts_us - messages[i].stamp.dts_us;
            if (llabs(out - apart) > tolerance_us)
                fail_msg("messages %d and %d: %ld us apart, were %ld", i, k, (long)out, (long)apart);
            pairs++;
        }
    return pairs;
}

/* No step of a stream on the output is longer than `longest_us`. */
static void assert_no_hole(int64_t longest_us)
{
    int64_t last[TIMELINE_STREAMS] = {-1, -1};

    for (int i = 0; i < messages_count; i++) {
        int stream = messages[i].stream;
        if (last[stream] >= 0 && messages[i].stamp.dts_us - last[stream] > longest_us)
            fail_msg("message %d: hole of %ld us", i, (long)(messages[i].stamp.dts_us - last[stream]));
        last[stream] = messages[i].stamp.dts_us;
    }
}

static struct timeline begun(void)
{
    struct timeline timeline;

    messages_count = 0;
    timeline_init(&timeline, NULL);
    timeline_begin_session(&timeline, 0, NULL);
    return timeline;
}

static void test_plain_input_is_kept_exactly(void **state)
{
    struct timeline timeline = begun();

    capture(0, 10, 5000, true, true, 0);
    feed(&timeline, 0, messages_count);
    for (int i = 0; i < messages_count; i++) {
        assert_int_equal(messages[i].stamp.dts_us, messages[i].true_us);
        assert_int_equal(messages[i].stamp.moved_us, 0);
    }
    assert_int_equal(count_events(TIMELINE_STARTED, 0, messages_count), 2);
    assert_int_equal(count_events(TIMELINE_KEPT, 0, messages_count), messages_count - 2);
    assert_int_equal(timeline.rebases, 0);
    assert_in_range(timeline_end_us(&timeline), 10000000 - 3000, 10000000 + 25000);
}

static void test_jitter_is_kept(void **state)
{
    struct timeline timeline = begun();

    capture(0, 5, 0, true, true, 0);
    for (int i = 4; i < messages_count; i++) {
        int jitter = (i * 7919) % 11;
        messages[i].timestamp_ms += (uint32_t)jitter;
        messages[i].true_us += jitter * 1000;
        messages[i].arrival_us += (i * 104729) % 80000;
    }
    feed(&timeline, 0, messages_count);
    for (int i = 0; i < messages_count; i++)
        assert_int_equal(messages[i].stamp.dts_us, messages[i].true_us);
    assert_int_equal(timeline.rebases, 0);
}

static void test_wrap_at_32_bits(void **state)
{
    struct timeline timeline = begun();

    capture(0, 10, 0xffffffffu - 5000, true, true, 40);
    feed(&timeline, 0, messages_count);
    for (int i = 0; i < messages_count; i++)
        assert_int_equal(messages[i].stamp.dts_us, messages[i].true_us);
    assert_int_equal(timeline.rebases, 0);
}

/* The timestamps from `cut` on are shifted; each stream's first message with new ones comes when it comes. */
static void check_jump(uint32_t shift_ms, double cut_s, int audio_late_ms)
{
    struct timeline timeline = begun();

    capture(0, 12, 20000, true, true, audio_late_ms);
    for (int i = 0; i < messages_count; i++)
        if (messages[i].true_us >= (int64_t)(cut_s * 1e6))
            messages[i].timestamp_ms += shift_ms;
    feed(&timeline, 0, messages_count);
    assert_rising();
    assert_no_hole(90000);
    assert_int_equal(timeline.rebases, 1);
    assert_int_equal(count_events(TIMELINE_REBASED, 0, messages_count), 1);
    assert_int_equal(count_events(TIMELINE_FOLLOWED, 0, messages_count), 1);
    /* Before and after: exact. Across the cut: within a frame. */
    assert_true(assert_together(0, messages_count, 40000) > 300);
    int after = 0;
    while (messages[after].true_us < (int64_t)(cut_s * 1e6) + 400000)
        after++;
    assert_true(assert_together(0, after - 100, 0) > 300);
    assert_true(assert_together(after, messages_count, 0) > 300);
    assert_in_range(messages[messages_count - 1].stamp.dts_us - messages[messages_count - 1].true_us + 100000, 60000,
                    140000);
}

static void test_jumps(void **state)
{
    static const int late_ms[] = {0, 15, 60, 150, -40, -120};
    static const int32_t shifts_ms[] = {1700, -1700, 5000, -5000, 60000, -20000, 2000000000, -2000000000, 2147483647};

    for (size_t late = 0; late < sizeof late_ms / sizeof *late_ms; late++)
        for (size_t shift = 0; shift < sizeof shifts_ms / sizeof *shifts_ms; shift++)
            for (double cut_s = 5; cut_s < 5.1; cut_s += 0.0107)
                check_jump((uint32_t)shifts_ms[shift], cut_s, late_ms[late]);
}

static void test_restart_at_zero(void **state)
{
    struct timeline timeline = begun();

    /* Within one session, a publisher's encoder starts anew: a second is missing, timestamps begin at 0. */
    capture(0, 6, 900000, true, true, 20);
    int first = messages_count;
    capture(7, 6, 0, true, true, 20);
    feed(&timeline, 0, messages_count);
    assert_rising();
    assert_no_hole(90000);
    assert_int_equal(timeline.rebases, 1);
    assert_true(assert_together(first, messages_count, 0) > 300);
}

static void test_back_steps(void **state)
{
    /* Small ones are a moment's squeeze, larger ones a rebase; either way DTS rises and the sound stays in place. */
    for (uint32_t step_ms = 20; step_ms < 1500; step_ms += 111) {
        struct timeline timeline = begun();
        capture(0, 8, 50000, true, true, 0);
        for (int i = 0; i < messages_count; i++)
            if (messages[i].true_us >= 4000000)
                messages[i].timestamp_ms -= step_ms;
        feed(&timeline, 0, messages_count);
        assert_rising();
        int after = 0;
        while (messages[after].true_us < 4600000)
            after++;
        assert_true(assert_together(after, messages_count, 0) > 300);
    }
}

static void test_one_stray_message(void **state)
{
    static const int32_t strays_ms[] = {-400, -3000, 4000, 100000, -49000};

    for (size_t stray = 0; stray < sizeof strays_ms / sizeof *strays_ms; stray++)
        for (int at = 500; at < 504; at++) {
            struct timeline timeline = begun();
            capture(0, 10, 50000, true, true, 0);
            messages[at].timestamp_ms += (uint32_t)strays_ms[stray];
            feed(&timeline, 0, messages_count);
            assert_rising();
            assert_true(assert_together(at + 5, messages_count, 0) > 300);
            assert_int_equal(messages[messages_count - 1].stamp.dts_us, messages[messages_count - 1].true_us);
        }
}

/* With nothing beside it, the offset of a moment ago is what brings the stream back. */
static void test_one_stray_message_alone(void **state)
{
    static const int32_t strays_ms[] = {-400, -3000, 4000, 100000};

    for (size_t stray = 0; stray < sizeof strays_ms / sizeof *strays_ms; stray++)
        for (int audio = 0; audio < 2; audio++) {
            struct timeline timeline = begun();
            capture(0, 10, 50000, !audio, audio, 0);
            messages[100].timestamp_ms += (uint32_t)strays_ms[stray];
            feed(&timeline, 0, messages_count);
            assert_rising();
            assert_int_equal(messages[100].event, TIMELINE_REBASED);
            assert_int_equal(messages[101].event, TIMELINE_FOLLOWED);
            assert_int_equal(messages[messages_count - 1].stamp.dts_us, messages[messages_count - 1].true_us);
        }
}

static void test_one_stream_alone(void **state)
{
    for (int audio = 0; audio < 2; audio++) {
        struct timeline timeline = begun();
        capture(0, 5, 1000, !audio, audio, 0);
        capture(5, 5, 900000, !audio, audio, 0);
        capture(10, 5, 0, !audio, audio, 0);
        feed(&timeline, 0, messages_count);
        assert_rising();
        assert_no_hole(60000);
        assert_int_equal(timeline.rebases, 2);
        assert_in_range(timeline_end_us(&timeline), 14900000, 15100000);
    }
}

static void test_true_gaps(void **state)
{
    /* Both stop for 5 s, time and timestamps pass. */
    struct timeline timeline = begun();
    capture(0, 5, 1000, true, true, 0);
    capture(10, 5, 11000, true, true, 0);
    feed(&timeline, 0, messages_count);
    for (int i = 0; i < messages_count; i++)
        assert_int_equal(messages[i].stamp.dts_us, messages[i].true_us);
    assert_int_equal(timeline.rebases, 0);

    /* Only video stops; and only there is video. */
    for (int alone = 0; alone < 2; alone++) {
        timeline = begun();
        capture(0, 15, 1000, true, !alone, 0);
        int kept = 0;
        for (int i = 0; i < messages_count; i++)
            if (messages[i].stream == TIMELINE_AUDIO || messages[i].true_us < 5000000 ||
                messages[i].true_us >= 10000000)
                messages[kept++] = messages[i];
        messages_count = kept;
        feed(&timeline, 0, messages_count);
        for (int i = 0; i < messages_count; i++)
            assert_int_equal(messages[i].stamp.dts_us, messages[i].true_us);
        assert_int_equal(timeline.rebases, 0);
    }
}

/* The line stalls for 4 s. What was under way comes in one burst, the rest was dropped by the publisher: the timestamps
 * advance by 3 s between two messages that arrive together, and that is true. */
static void test_gap_behind_a_stall(void **state)
{
    struct timeline timeline = begun();
    int kept = 0;

    capture(0, 20, 1000, true, true, 0);
    for (int i = 0; i < messages_count; i++) {
        int64_t at_us = messages[i].true_us;
        if (at_us >= 6000000 && at_us < 9000000)
            continue;
        if (at_us >= 5000000 && at_us < 9000000)
            messages[i].arrival_us = 1763716182000000 + 9000000;
        messages[kept++] = messages[i];
    }
    messages_count = kept;
    feed(&timeline, 0, messages_count);
    for (int i = 0; i < messages_count; i++)
        assert_int_equal(messages[i].stamp.dts_us, messages[i].true_us);
    assert_int_equal(timeline.rebases, 0);
}

/* Video falls silent, its clock jumps meanwhile, and comes back: beside the sound, by the sound's offset. */
static void test_jump_during_a_pause_of_the_other(void **state)
{
    static const int32_t shifts_ms[] = {-5000, 5000, -60000, 60000};

    for (size_t shift = 0; shift < sizeof shifts_ms / sizeof *shifts_ms; shift++) {
        struct timeline timeline = begun();
        int kept = 0;
        capture(0, 20, 100000, true, true, 0);
        for (int i = 0; i < messages_count; i++) {
            if (messages[i].true_us >= 8000000)
                messages[i].timestamp_ms += (uint32_t)shifts_ms[shift];
            if (messages[i].stream == TIMELINE_AUDIO || messages[i].true_us < 5000000 ||
                messages[i].true_us >= 10000000)
                messages[kept++] = messages[i];
        }
        messages_count = kept;
        feed(&timeline, 0, messages_count);
        assert_rising();
        int after = 0;
        while (messages[after].true_us < 10000000)
            after++;
        assert_true(assert_together(after, messages_count, 0) > 300);
        assert_int_equal(timeline.rebases, 1);
    }
}

static void test_first_timestamps_lie(void **state)
{
    /* The first audio message says 0, all others the time of day. */
    struct timeline timeline = begun();
    capture(0, 5, 36000000, true, true, -5);
    assert_int_equal(messages[0].stream, TIMELINE_AUDIO);
    messages[0].timestamp_ms = 0;
    feed(&timeline, 0, messages_count);
    assert_rising();
    assert_true(assert_together(3, messages_count, 0) > 300);
    assert_no_hole(60000);
}

static void test_unrelated_clocks(void **state)
{
    struct timeline timeline = begun();

    capture(0, 10, 1000, true, true, 0);
    for (int i = 0; i < messages_count; i++)
        if (messages[i].stream == TIMELINE_AUDIO)
            messages[i].timestamp_ms += 777000000;
    feed(&timeline, 0, messages_count);
    assert_rising();
    assert_no_hole(60000);
    assert_true(assert_together(0, messages_count, 40000) > 300);
}

static void test_late_second_stream(void **state)
{
    struct timeline timeline = begun();
    int kept = 0;

    capture(0, 30, 1000, true, true, 0);
    for (int i = 0; i < messages_count; i++)
        if (messages[i].stream == TIMELINE_VIDEO || messages[i].true_us >= 20000000)
            messages[kept++] = messages[i];
    messages_count = kept;
    feed(&timeline, 0, messages_count);
    for (int i = 0; i < messages_count; i++)
        assert_int_equal(messages[i].stamp.dts_us, messages[i].true_us);
}

static void test_reordering(void **state)
{
    static const int32_t pattern_ms[] = {67, 167, 67, 0};
    struct timeline timeline = begun();

    capture(0, 5, 1000, true, true, 0);
    for (int i = 0, pictures = 0; i < messages_count; i++)
        if (messages[i].stream == TIMELINE_VIDEO)
            messages[i].composition_ms = pattern_ms[pictures++ % 4];
    feed(&timeline, 0, messages_count);
    /* The first picture is shown at 0, whatever its decoding time. */
    assert_int_equal(messages[0].stamp.pts_us, 0);
    assert_int_equal(messages[0].stamp.dts_us, -67000);
    for (int i = 0; i < messages_count; i++) {
        assert_int_equal(messages[i].stamp.dts_us, messages[i].true_us - 67000);
        assert_int_equal(messages[i].stamp.pts_us, messages[i].stamp.dts_us + messages[i].composition_ms * 1000);
    }
    assert_rising();

    /* Negative and absurd offsets. */
    struct timeline_stamp stamp;
    timeline = begun();
    for (uint32_t i = 0; i < 30; i++) {
        timeline_map(&timeline, TIMELINE_VIDEO, 1000 + i * 33, i % 2 ? -40 : 0, i * 33000, &stamp);
        assert_true(stamp.pts_us >= stamp.dts_us);
    }
    timeline = begun();
    timeline_map(&timeline, TIMELINE_VIDEO, 1000, INT32_MAX, 0, &stamp);
    assert_int_equal(stamp.pts_us, 0);
    timeline_map(&timeline, TIMELINE_VIDEO, 1033, INT32_MIN, 33000, &stamp);
    assert_int_equal(stamp.pts_us, 33000);
}

static void test_sessions_join(void **state)
{
    struct timeline timeline = begun();
    uint32_t earliest_ms = 70000;

    capture(0, 5, 1000, true, true, 0);
    feed(&timeline, 0, messages_count);
    int64_t end_us = timeline_end_us(&timeline);
    int first = messages_count;
    capture(25, 5, 3000000000u, true, true, 0);
    timeline_begin_session(&timeline, 0, NULL);
    feed(&timeline, first, messages_count);
    assert_int_equal(messages[first].stamp.pts_us, end_us);
    assert_int_equal(timeline.start_us, end_us);
    assert_rising();
    assert_true(assert_together(first, messages_count, 0) > 300);
    assert_int_equal(timeline.rebases, 0);

    /* Encoders put out more than came in; and the caller has looked ahead. */
    first = messages_count;
    capture(40, 5, earliest_ms, true, true, 0);
    timeline_begin_session(&timeline, 20000000, &earliest_ms);
    for (int i = first; i < messages_count; i++)
        messages[i].timestamp_ms += messages[i].stream == TIMELINE_VIDEO ? 200 : 0;
    feed(&timeline, first, messages_count);
    for (int i = first; i < messages_count; i++)
        if (messages[i].stream == TIMELINE_AUDIO) {
            assert_int_equal(messages[i].stamp.dts_us, 20000000);
            break;
        }
    assert_int_equal(messages[first].stamp.dts_us, 20200000);
    assert_rising();
}

static void test_snapshot_and_text(void **state)
{
    struct timeline timeline = begun(), restored;
    char text[TIMELINE_TEXT_MAX], again[TIMELINE_TEXT_MAX];

    capture(0, 12, 0xffffffffu - 3000, true, true, 30);
    for (int i = 0; i < messages_count; i++)
        if (messages[i].true_us >= 7000000)
            messages[i].timestamp_ms -= 1000000;
    feed(&timeline, 0, messages_count / 3);
    assert_true(timeline_encode(&timeline, text) < TIMELINE_TEXT_MAX);
    memset(&restored, 0x55, sizeof restored);
    assert_int_equal(timeline_decode(&restored, text), 0);
    timeline_encode(&restored, again);
    assert_string_equal(text, again);
    feed(&timeline, messages_count / 3, messages_count);
    for (int i = messages_count / 3; i < messages_count; i++) {
        struct timeline_stamp stamp;
        timeline_map(&restored, messages[i].stream, messages[i].timestamp_ms, messages[i].composition_ms,
                     messages[i].arrival_us, &stamp);
        assert_memory_equal(&stamp, &messages[i].stamp, sizeof stamp);
    }
    static const char *const wrong[] = {"", "t1", "t2 1", "t1 1 2 3", "t1 99999999999999999999", "x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(timeline_decode(&restored, wrong[i]), -1);
    strcat(text, " 1");
    assert_int_equal(timeline_decode(&restored, text), -1);
}

/* Anything at all: DTS rises, PTS is not before it, nothing overflows (UBSan). */
static void test_random_input(void **state)
{
    unsigned seed = 12345;
    struct timeline timeline = begun();
    int64_t last[TIMELINE_STREAMS] = {-(INT64_C(1) << 60), -(INT64_C(1) << 60)}, arrival_us = 0;

    for (int i = 0; i < 200000; i++) {
        struct timeline_stamp stamp;
        uint32_t timestamp_ms = (uint32_t)rand_r(&seed) << 8 ^ (uint32_t)rand_r(&seed);
        enum timeline_stream stream = rand_r(&seed) % 2;
        if (i % 5 != 0)
            timestamp_ms = (uint32_t)i * 20;
        arrival_us += rand_r(&seed) % 40000;
        if (i % 1000 == 0)
            timeline_begin_session(&timeline, 0, i % 2000 ? &timestamp_ms : NULL);
        timeline_map(&timeline, stream, timestamp_ms, (int32_t)(rand_r(&seed) % 400) - 200, arrival_us, &stamp);
        assert_true(stamp.dts_us > last[stream]);
        assert_true(stamp.pts_us >= stamp.dts_us);
        last[stream] = stamp.dts_us;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_input_is_kept_exactly),
        cmocka_unit_test(test_jitter_is_kept),
        cmocka_unit_test(test_wrap_at_32_bits),
        cmocka_unit_test(test_jumps),
        cmocka_unit_test(test_restart_at_zero),
        cmocka_unit_test(test_back_steps),
        cmocka_unit_test(test_one_stray_message),
        cmocka_unit_test(test_one_stray_message_alone),
        cmocka_unit_test(test_one_stream_alone),
        cmocka_unit_test(test_true_gaps),
        cmocka_unit_test(test_gap_behind_a_stall),
        cmocka_unit_test(test_jump_during_a_pause_of_the_other),
        cmocka_unit_test(test_first_timestamps_lie),
        cmocka_unit_test(test_unrelated_clocks),
        cmocka_unit_test(test_late_second_stream),
        cmocka_unit_test(test_reordering),
        cmocka_unit_test(test_sessions_join),
        cmocka_unit_test(test_snapshot_and_text),
        cmocka_unit_test(test_random_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
