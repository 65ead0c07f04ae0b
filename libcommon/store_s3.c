/* An S3-compatible bucket as the store: path-style requests, signed by libcurl (SigV4). libcurl 7.88 signs but does not
 * send the hash of the body, without which real servers refuse: so it is given here, and signed along. */
#include "libcommon/http_client.h"
#include "libcommon/store.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"

#include <openssl/evp.h>
#include <stdio.h>

#define TIMEOUT_MS       20000
#define MAX_ERROR_ANSWER 16384

struct store_s3 {
    struct http_client *client;
    char *base; /* "http://host:port/bucket/prefix/", ends with a slash */
    char *sigv4;
    char *user_password;
};

struct call {
    store_done_fn done;
    store_get_fn got;
    void *context;
    char *path;
};

/* <Code>SlowDown</Code> of an error's XML, or "". */
static void error_code_of(const struct blob *answer, char *out, size_t out_size)
{
    const char *begin, *end;

    out[0] = '\0';
    begin = answer ? memmem(answer->data, answer->len, "<Code>", 6) : NULL;
    if (!begin)
        return;
    begin += 6;
    end = memmem(begin, answer->len - (size_t)(begin - (const char *)answer->data), "</Code>", 7);
    if (end)
        snprintf(out, out_size, "%.*s", (int)(end - begin), begin);
}

/* What the answer means, and a phrase that an operator understands. */
static int judge(const struct call *call, int status, const char *why, const struct blob *answer, char *out,
                 size_t out_size)
{
    char code[64];

    error_code_of(answer, code, sizeof(code));
    if (status >= 200 && status < 300) {
        out[0] = '\0';
        return 0;
    }
    if (status == 0) {
        snprintf(out, out_size, "%s: no answer: %s", call->path, why);
        return STORE_AWAY;
    }
    if (status == 401 || status == 403) {
        snprintf(out, out_size,
                 "%s: the store refuses our credentials: %d %s (see HANABI_S3_ACCESS_KEY, HANABI_S3_SECRET_KEY)",
                 call->path, status, code);
        return STORE_REFUSED;
    }
    snprintf(out, out_size, "%s: HTTP %d %s", call->path, status, code);
    if (status == 404 && strcmp(code, "NoSuchBucket") != 0)
        return STORE_MISSING;
    return status == 429 || status >= 500 || status == 408 ? STORE_AWAY : STORE_REFUSED;
}

static void free_call(struct call *call)
{
    free(call->path);
    free(call);
}

static void on_done(int status, const char *why, struct blob *answer, void *context)
{
    struct call *call = context;
    char text[300];
    int code = judge(call, status, why, answer, text, sizeof(text));

    /* To write below a path that is missing makes no sense to us: it is the bucket's fault. */
    call->done(code == STORE_MISSING ? STORE_REFUSED : code, text, call->context);
    free_call(call);
}

static void on_got(int status, const char *why, struct blob *answer, void *context)
{
    struct call *call = context;
    char text[300];
    int code = judge(call, status, why, answer, text, sizeof(text));

    call->got(code, text, code == 0 ? answer : NULL, call->context);
    free_call(call);
}

static void hash_header(const struct blob *body, char *out, size_t out_size)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    int used = snprintf(out, out_size, "x-amz-content-sha256: ");

    EVP_Digest(body ? body->data : (const void *)"", body ? body->len : 0, hash, &len, EVP_sha256(), NULL);
    for (unsigned i = 0; i < len; i++)
        used += snprintf(out + used, out_size - (size_t)used, "%02x", hash[i]);
}

/* The server signs what it decodes and encodes again, so '=' (of a partition, dt=2026-11-28) must come encoded. */
static void make_url(const char *base, const char *path, char *out, size_t out_size)
{
    size_t len = (size_t)snprintf(out, out_size, "%s", base);

    for (; *path && len + 4 < out_size; path++)
        len += (size_t)snprintf(out + len, out_size - len, *path == '=' ? "%%%02X" : "%c", (unsigned char)*path);
}

static void send_request(struct store_s3 *store, const char *method, struct call *call, const struct store_put *put,
                         size_t max_answer, http_client_fn done)
{
    char url[1024], hash[128], content_type[128], cache_control[128];
    const char *headers[4] = {hash};
    struct blob *empty = NULL;
    int64_t timeout_ms = TIMEOUT_MS;

    make_url(store->base, call->path, url, sizeof(url));
    hash_header(put ? put->blob : NULL, hash, sizeof(hash));
    if (put) {
        snprintf(content_type, sizeof(content_type), "Content-Type: %s", put->content_type);
        snprintf(cache_control, sizeof(cache_control), "Cache-Control: %s", put->cache_control);
        headers[1] = content_type;
        headers[2] = cache_control;
        if (put->not_after_ms)
            timeout_ms = put->not_after_ms - clock_monotonic_ms();
    }
    http_client_send(store->client,
                     &(struct http_client_request){.method = method,
                                                   .url = url,
                                                   .headers = headers,
                                                   .body = put ? put->blob : empty,
                                                   .user_password = store->user_password,
                                                   .sigv4 = store->sigv4,
                                                   .timeout_ms = timeout_ms > 0 ? timeout_ms : 1,
                                                   .max_response_bytes = max_answer},
                     done, call);
}

static struct call *new_call(const char *path, void *context)
{
    struct call *call = alloc_zero(1, sizeof(*call));

    call->path = alloc_string(path);
    call->context = context;
    return call;
}

static void put(void *self, const struct store_put *request, store_done_fn done, void *context)
{
    struct call *call = new_call(request->path, context);

    call->done = done;
    send_request(self, "PUT", call, request, MAX_ERROR_ANSWER, on_done);
}

static void get(void *self, const char *path, size_t max_bytes, store_get_fn done, void *context)
{
    struct call *call = new_call(path, context);

    call->got = done;
    send_request(self, "GET", call, NULL, max_bytes, on_got);
}

static void delete (void *self, const char *path, store_done_fn done, void *context)
{
    struct call *call = new_call(path, context);

    call->done = done;
    send_request(self, "DELETE", call, NULL, MAX_ERROR_ANSWER, on_done);
}

static void destroy(void *self)
{
    struct store_s3 *store = self;

    http_client_destroy(store->client);
    free(store->base);
    free(store->sigv4);
    free(store->user_password);
    free(store);
}

static const struct store_ops s3_ops = {.put = put, .get = get, .delete = delete, .destroy = destroy};

/* Copies the value of `name` from "a=1&b=2" into `out`; false when it is absent or too long. */
static bool query_value(const char *query, const char *name, char *out, size_t out_size)
{
    size_t name_len = strlen(name);

    for (const char *at = query; at && *at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL)
        if (strncmp(at, name, name_len) == 0 && at[name_len] == '=')
            return (size_t)snprintf(out, out_size, "%.*s", (int)strcspn(at + name_len + 1, "&"), at + name_len + 1) <
                   out_size;
    return false;
}

void *store_s3_create(struct event_base *loop, const struct store_options *options, const struct store_ops **ops,
                      char *error, size_t error_size)
{
    const char *bucket = options->url + strlen("s3://"), *query = strchr(bucket, '?');
    int bucket_len = (int)(query ? (size_t)(query - bucket) : strlen(bucket));
    char endpoint[256] = "", region[64] = "us-east-1";
    struct store_s3 *store;

    while (bucket_len > 0 && bucket[bucket_len - 1] == '/')
        bucket_len--;
    query_value(query ? query + 1 : "", "region", region, sizeof(region));
    if (!query_value(query ? query + 1 : "", "endpoint", endpoint, sizeof(endpoint)))
        snprintf(endpoint, sizeof(endpoint), "https://s3.%s.amazonaws.com", region);
    if (bucket_len == 0 || (strncmp(endpoint, "http://", 7) != 0 && strncmp(endpoint, "https://", 8) != 0)) {
        snprintf(error, error_size, "is not s3://bucket[/prefix]?endpoint=http://host:port&region=name");
        return NULL;
    }
    if (!options->access_key[0] || !options->secret_key[0]) {
        snprintf(error, error_size, "names a bucket: HANABI_S3_ACCESS_KEY and HANABI_S3_SECRET_KEY are needed");
        return NULL;
    }
    store = alloc_zero(1, sizeof(*store));
    if (endpoint[strlen(endpoint) - 1] == '/')
        endpoint[strlen(endpoint) - 1] = '\0';
    if (asprintf(&store->base, "%s/%.*s/", endpoint, bucket_len, bucket) < 0 ||
        asprintf(&store->sigv4, "aws:amz:%s:s3", region) < 0 ||
        asprintf(&store->user_password, "%s:%s", options->access_key, options->secret_key) < 0)
        abort();
    store->client = http_client_create(loop, options->max_operations);
    *ops = &s3_ops;
    return store;
}
