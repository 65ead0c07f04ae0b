/* The folder store on a real folder: whole files or none, no store where none is mounted, late writes refused. */
#include "libcommon/store.h"

#include "libcommon/clock.h"
#include "libcommon/metrics.h"

#include <dirent.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct event_base *loop;
    struct metrics *metrics;
    struct store *store;
    char folder[64], root[96];
    int calls, code;
    char why[300], text[64];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char url[128], error[200];

    strcpy(f->folder, "/tmp/hanabi-store-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->root, sizeof(f->root), "%s/store", f->folder);
    assert_int_equal(mkdir(f->root, 0755), 0);
    f->loop = event_base_new();
    f->metrics = metrics_create();
    snprintf(url, sizeof(url), "file://%s/", f->root);
    f->store = store_create(f->loop,
                            &(struct store_options){.url = url,
                                                    .access_key = "",
                                                    .secret_key = "",
                                                    .sync_files = true,
                                                    .max_operations = 4,
                                                    .metrics = f->metrics},
                            error, sizeof(error));
    assert_non_null(f->store);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    store_destroy(f->store);
    event_base_free(f->loop);
    metrics_destroy(f->metrics);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void on_done(int code, const char *why, void *context)
{
    struct fixture *f = context;

    f->calls++;
    f->code = code;
    snprintf(f->why, sizeof(f->why), "%s", why);
}

static void on_got(int code, const char *why, struct blob *blob, void *context)
{
    struct fixture *f = context;

    on_done(code, why, f);
    assert_int_equal(blob != NULL, code == 0);
    snprintf(f->text, sizeof(f->text), "%.*s", blob ? (int)blob->len : 0, blob ? (const char *)blob->data : "");
}

static int wait_for_call(struct fixture *f, int calls)
{
    int64_t deadline = clock_monotonic_ms() + 5000;

    while (f->calls < calls && clock_monotonic_ms() < deadline)
        event_base_loop(f->loop, EVLOOP_ONCE);
    assert_int_equal(f->calls, calls);
    f->calls = 0;
    return f->code;
}

static int put(struct fixture *f, const char *path, const char *text, int64_t not_after_ms)
{
    struct blob *blob = blob_of_text(text);

    store_put(f->store,
              &(struct store_put){.path = path,
                                  .blob = blob,
                                  .content_type = "text/plain",
                                  .cache_control = "no-store",
                                  .not_after_ms = not_after_ms},
              on_done, f);
    assert_int_equal(f->calls, 0); /* never before it returns */
    blob_unref(blob);
    return wait_for_call(f, 1);
}

static int get(struct fixture *f, const char *path)
{
    store_get(f->store, path, 1000, on_got, f);
    return wait_for_call(f, 1);
}

static void test_put_get_delete(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(get(f, "live/b/720p/0.ts"), STORE_MISSING);
    assert_int_equal(put(f, "live/b/720p/0.ts", "one", 0), 0);
    assert_int_equal(get(f, "live/b/720p/0.ts"), 0);
    assert_string_equal(f->text, "one");
    assert_int_equal(put(f, "live/b/720p/0.ts", "another", clock_monotonic_ms() + 5000), 0);
    assert_int_equal(get(f, "live/b/720p/0.ts"), 0);
    assert_string_equal(f->text, "another");
    store_delete(f->store, "live/b/720p/0.ts", on_done, f);
    assert_int_equal(wait_for_call(f, 1), 0);
    assert_int_equal(get(f, "live/b/720p/0.ts"), STORE_MISSING);
}

static int count_files(const char *folder)
{
    DIR *dir = opendir(folder);
    int count = 0;

    while (dir && readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

static void test_late_write_changes_nothing(void **state)
{
    struct fixture *f = *state;
    char folder[128];

    assert_int_equal(put(f, "live/b/index.m3u8", "new", 0), 0);
    assert_int_equal(put(f, "live/b/index.m3u8", "old", clock_monotonic_ms() - 1), STORE_LATE);
    assert_int_equal(get(f, "live/b/index.m3u8"), 0);
    assert_string_equal(f->text, "new");
    snprintf(folder, sizeof(folder), "%s/live/b", f->root);
    assert_int_equal(count_files(folder), 1); /* and leaves no temporary file */
}

static void test_missing_root_is_not_made(void **state)
{
    struct fixture *f = *state;
    char away[128], why[200];
    struct stat info;

    assert_int_equal(put(f, "a", "x", 0), 0);
    assert_true(store_ready(f->store, why, sizeof(why)));
    snprintf(away, sizeof(away), "%s.away", f->root);
    assert_int_equal(rename(f->root, away), 0);
    assert_int_equal(put(f, "live/b/0.ts", "x", 0), STORE_AWAY);
    assert_non_null(strstr(f->why, "live/b/0.ts"));
    assert_int_not_equal(stat(f->root, &info), 0);
    /* The store's first probe may have been under way while the folder still stood: its answer is news for a moment. */
    for (int i = 0; i < 100 && store_ready(f->store, why, sizeof(why)); i++)
        assert_int_equal(put(f, "live/b/0.ts", "x", 0), STORE_AWAY);
    assert_false(store_ready(f->store, why, sizeof(why)));
    assert_int_equal(rename(away, f->root), 0);
    assert_int_equal(put(f, "live/b/0.ts", "x", 0), 0);
    assert_true(store_ready(f->store, why, sizeof(why)));
}

static void test_many_at_once(void **state)
{
    struct fixture *f = *state;
    struct blob *blob = blob_of_text("many");
    char path[64];

    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof(path), "live/b%d/720p/%d.ts", i % 10, i);
        store_put(
            f->store,
            &(struct store_put){.path = path, .blob = blob, .content_type = "text/plain", .cache_control = "no-store"},
            on_done, f);
    }
    blob_unref(blob);
    wait_for_call(f, 200);
    assert_int_equal(get(f, "live/b7/720p/197.ts"), 0);
    assert_string_equal(f->text, "many");
}

static void test_broken_urls(void **state)
{
    static const char *const urls[] = {"file://relative/path", "s3://", "s3://b?endpoint=ftp://x", "s3://b"};
    struct fixture *f = *state;
    char error[200];

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        error[0] = '\0';
        assert_null(store_create(
            f->loop, &(struct store_options){.url = urls[i], .access_key = "", .secret_key = "", .metrics = f->metrics},
            error, sizeof(error)));
        assert_true(strlen(error) > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put_get_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_write_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_root_is_not_made, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_urls, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
