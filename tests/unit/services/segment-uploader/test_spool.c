/* Segments on disk: they come back as they went, also for a successor; damage is noticed; the limit holds. */
#include "services/segment-uploader/spool.h"

#include "libcommon/clock.h"
#include "libcommon/metrics.h"

#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct event_base *loop;
    struct metrics *metrics;
    struct spool *spool;
    char folder[64];
    int calls, error;
    struct segment_media found;
};

static struct segment_media sample_media(void)
{
    struct segment_media media = {.renditions_count = 3};

    media.renditions[0] = blob_of_text("seven hundred twenty");
    media.renditions[2] = blob_create(0); /* the second one is missing, the third empty */
    media.thumbnail = blob_of_text("jpeg\nwith a line");
    return media;
}

static void assert_is_sample(const struct segment_media *media)
{
    assert_int_equal(media->renditions_count, 3);
    assert_int_equal(media->renditions[0]->len, 20);
    assert_memory_equal(media->renditions[0]->data, "seven hundred twenty", 20);
    assert_null(media->renditions[1]);
    assert_int_equal(media->renditions[2]->len, 0);
    assert_memory_equal(media->thumbnail->data, "jpeg\nwith a line", 16);
}

static void test_encoding(void **state)
{
    struct segment_media media = sample_media(), back;
    struct blob *blob = spool_encode(&media);

    assert_int_equal(spool_decode(blob, &back), 0);
    assert_is_sample(&back);
    segment_media_clear(&back);
    /* Cut anywhere, it is no segment; neither with something behind it. */
    for (size_t len = 0; len < blob->len; len++) {
        struct blob *cut = blob_create(len);

        memcpy(cut->data, blob->data, len);
        assert_int_equal(spool_decode(cut, &back), -1);
        assert_null(back.renditions[0]);
        blob_unref(cut);
    }
    blob_unref(blob);
    segment_media_clear(&media);

    blob = blob_of_text("{\"sizes\":[-2],\"thumbnail\":-1}\n");
    assert_int_equal(spool_decode(blob, &back), -1);
    blob_unref(blob);
    blob = blob_of_text("{\"sizes\":[9223372036854775807],\"thumbnail\":-1}\nx");
    assert_int_equal(spool_decode(blob, &back), -1);
    blob_unref(blob);
    blob = blob_of_text("{\"sizes\":[1,1,1,1,1,1,1,1,1],\"thumbnail\":-1}\n123456789");
    assert_int_equal(spool_decode(blob, &back), -1);
    blob_unref(blob);
}

static struct spool *make_spool(struct fixture *f)
{
    char error[200];

    return spool_create(f->loop, f->folder, 1000, f->metrics, error, sizeof(error));
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->folder, "/tmp/hanabi-spool-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->loop = event_base_new();
    f->metrics = metrics_create();
    f->spool = make_spool(f);
    assert_non_null(f->spool);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    spool_destroy(f->spool);
    event_base_free(f->loop);
    metrics_destroy(f->metrics);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    segment_media_clear(&f->found);
    free(f);
    return 0;
}

static void on_done(int error, struct blob *blob, void *context)
{
    struct fixture *f = context;

    f->calls++;
    f->error = error;
    segment_media_clear(&f->found);
    if (blob)
        assert_int_equal(spool_decode(blob, &f->found), 0);
}

static int wait_for_call(struct fixture *f)
{
    int64_t deadline = clock_monotonic_ms() + 5000;

    while (f->calls == 0 && clock_monotonic_ms() < deadline)
        event_base_loop(f->loop, EVLOOP_ONCE);
    assert_int_equal(f->calls, 1);
    f->calls = 0;
    return f->error;
}

static void put_sample(struct fixture *f, const char *entry_id)
{
    struct segment_media media = sample_media();

    spool_put(f->spool, "b1", entry_id, &media, on_done, f);
    segment_media_clear(&media); /* the spool has its own references */
    assert_int_equal(wait_for_call(f), 0);
}

static int get(struct fixture *f, const char *entry_id)
{
    spool_get(f->spool, "b1", entry_id, on_done, f);
    return wait_for_call(f);
}

static void test_a_successor_finds_it(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(get(f, "17-0"), ENOENT);
    put_sample(f, "17-0");
    put_sample(f, "18-0");
    spool_destroy(f->spool);
    f->spool = make_spool(f);
    assert_int_equal(get(f, "18-0"), 0);
    assert_is_sample(&f->found);
    assert_int_equal(get(f, "17-0"), 0);
    spool_remove(f->spool, "b1", "17-0", 36);
    /* Removals run on workers too: poll. */
    for (int64_t deadline = clock_monotonic_ms() + 5000; get(f, "17-0") == 0;)
        assert_true(clock_monotonic_ms() < deadline);
    assert_int_equal(f->error, ENOENT);
    assert_int_equal(get(f, "18-0"), 0);
}

static void test_the_limit_also_counts_what_was_left(void **state)
{
    struct fixture *f = *state;
    char id[32];

    assert_true(spool_has_room(f->spool, 1000));
    assert_false(spool_has_room(f->spool, 1001));
    for (int i = 0; i < 8; i++) {
        snprintf(id, sizeof(id), "%d-0", i);
        put_sample(f, id);
    }
    assert_true(spool_has_room(f->spool, 400));
    assert_false(spool_has_room(f->spool, 700));
    spool_destroy(f->spool);
    f->spool = make_spool(f);
    assert_true(spool_has_room(f->spool, 400));
    assert_false(spool_has_room(f->spool, 700));
}

static void test_no_folder(void **state)
{
    struct fixture *f = *state;
    char error[200];

    assert_null(spool_create(f->loop, "/proc/nothing/here", 1000, f->metrics, error, sizeof(error)));
    assert_non_null(strstr(error, "/proc/nothing/here"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoding),
        cmocka_unit_test_setup_teardown(test_a_successor_finds_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_limit_also_counts_what_was_left, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_folder, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
