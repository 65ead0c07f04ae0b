/* PURGE requests; see purge.h. */
#include "services/segment-uploader/purge.h"

#include "libcommon/http_client.h"

#include "libcommon/alloc.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"

#include <stdio.h>

#define MAX_EDGES       32
#define MAX_CONNECTIONS 32
#define MAX_UNDER_WAY   2000
#define DEADLINE_MS     1000

struct purge {
    struct http_client *client;
    char *urls[MAX_EDGES];
    int urls_count;
    int under_way;
    struct metric *ok, *failed, *dropped;
};

static int add_url(struct purge *purge, const char *url, size_t len, char *error, size_t error_size)
{
    while (len > 0 && url[len - 1] == '/')
        len--;
    if (len == 0)
        return 0;
    if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) || purge->urls_count == MAX_EDGES) {
        snprintf(error, error_size, "\"%.*s\" is not http://host:port/path (or there are more than %d)", (int)len, url,
                 MAX_EDGES);
        return -1;
    }
    purge->urls[purge->urls_count++] = strndup(url, len);
    return 0;
}

struct purge *purge_create(struct event_base *loop, const char *urls, struct metrics *metrics, char *error,
                           size_t error_size)
{
    struct purge *purge = alloc_zero(1, sizeof(*purge));

    for (const char *at = urls; *at; at += strcspn(at, ","), at += *at == ',')
        if (add_url(purge, at, strcspn(at, ","), error, error_size) != 0) {
            purge_destroy(purge);
            return NULL;
        }
    purge->client = http_client_create(loop, MAX_CONNECTIONS);
    purge->ok = metrics_counter(metrics, "hanabi_uploader_purges_total", "purges at edges", "result=\"ok\"");
    purge->failed = metrics_counter(metrics, "hanabi_uploader_purges_total", "purges at edges", "result=\"failed\"");
    purge->dropped = metrics_counter(metrics, "hanabi_uploader_purges_total", "purges at edges", "result=\"dropped\"");
    return purge;
}

void purge_destroy(struct purge *purge)
{
    if (!purge)
        return;
    http_client_destroy(purge->client);
    for (int i = 0; i < purge->urls_count; i++)
        free(purge->urls[i]);
    free(purge);
}

static void on_answer(int status, const char *why, struct blob *answer, void *context)
{
    static struct log_limiter limiter = LOG_LIMITER(10000);
    struct purge *purge = context;
    /* 404 and 412: it was not in the cache. */
    bool ok = (status >= 200 && status < 300) || status == 404 || status == 412;

    purge->under_way--;
    metric_add(ok ? purge->ok : purge->failed, 1);
    if (!ok)
        log_limited(&limiter, LOG_LEVEL_WARN, "purge.failed", log_int("status", status), log_str("why", why));
}

void purge_send(struct purge *purge, const char *path)
{
    for (int i = 0; i < purge->urls_count; i++) {
        char url[1024];

        if (purge->under_way >= MAX_UNDER_WAY) {
            metric_add(purge->dropped, 1);
            continue;
        }
        purge->under_way++;
        snprintf(url, sizeof(url), "%s/%s", purge->urls[i], path);
        http_client_send(purge->client,
                         &(struct http_client_request){
                             .method = "PURGE", .url = url, .timeout_ms = DEADLINE_MS, .max_response_bytes = 16384},
                         on_answer, purge);
    }
}
