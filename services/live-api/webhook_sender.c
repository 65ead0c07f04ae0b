/* Takes what is due, sends it, writes down what became of it. At most one request at a time per webhook and
 * MAX_IN_FLIGHT per process, so that receivers that hang cost the others nothing. */
#include "libcommon/alloc.h"
#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/http_client.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/service.h"
#include "payment_signature.h"
#include "webhook.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PERIOD_MS     500
#define PRUNE_MS      60000
#define MAX_IN_FLIGHT 32
#define MAX_ANSWER    (64 * 1024) /* that is read; the status says all, and the rest is left */
#define LEASE_MARGIN  10000       /* beyond the request's own deadline, for the database */
#define MAX_RETRY_MS  3600000     /* the longest pause between two attempts */

struct webhook_sender {
    struct live_api *api;
    struct http_client *http;
    struct event *timer;
    size_t in_flight;
    bool is_taking, is_wanted;
    int64_t prune_at_ms;
    struct metric *delivered, *failed, *sending;
};

struct take_job {
    struct webhook_sender *sender;
    struct webhook_task tasks[MAX_IN_FLIGHT];
    size_t max, count;
    bool is_pruning;
    int code;
};

/* One attempt, from the request to its row. */
struct attempt {
    struct webhook_sender *sender;
    struct webhook_task task;
    struct webhook_outcome outcome;
    char why[200];
    int64_t retry_ms;
    int code;
};

static void take(struct webhook_sender *sender);

/* --- what became of it --- */

static void finish(struct attempt *attempt)
{
    struct webhook_sender *sender = attempt->sender;

    metric_set(sender->sending, (double)--sender->in_flight);
    free(attempt->task.body);
    free(attempt);
}

static void run_settle(struct db_connection *connection, void *context)
{
    struct attempt *attempt = context;

    attempt->code = webhook_row_settle(connection, &attempt->task, &attempt->outcome, clock_wall_ms(),
                                       attempt->retry_ms, attempt->sender->api->config.webhook_disable_ms);
}

static void done_settle(int code, void *context)
{
    struct attempt *attempt = context;
    struct webhook_sender *sender = attempt->sender;

    /* Not written: it is sent again when its time with us is over. */
    if (code != 0 || attempt->code != 0)
        log_warn("webhook.not_settled", log_int("delivery", attempt->task.delivery.id),
                 log_str("why", db_strerror(code != 0 ? code : attempt->code)));
    finish(attempt);
    take(sender);
}

/* min · 2^attempts, jittered by half, so that what failed together does not come back together; negative: no more. */
static int64_t retry_after_ms(const struct live_api_config *config, int attempts)
{
    int64_t delay_ms = config->webhook_retry_ms;

    if (attempts >= config->webhook_attempts)
        return -1;
    for (int i = 1; i < attempts && delay_ms < MAX_RETRY_MS; i++)
        delay_ms *= 2;
    if (delay_ms > MAX_RETRY_MS)
        delay_ms = MAX_RETRY_MS;
    return delay_ms / 2 + random_below((uint32_t)(delay_ms / 2 + 1));
}

static void settle(struct attempt *attempt, int status, const char *why)
{
    struct webhook_sender *sender = attempt->sender;
    bool ok = status >= 200 && status < 300;

    snprintf(attempt->why, sizeof(attempt->why), "%s",
             status == 0         ? why
             : status / 100 == 3 ? "redirects are not followed"
                                 : "the answer was no success");
    attempt->outcome = (struct webhook_outcome){.ok = ok, .status = status, .why = attempt->why};
    attempt->retry_ms = ok ? 0 : retry_after_ms(&sender->api->config, attempt->task.delivery.attempts);
    metric_add(ok ? sender->delivered : sender->failed, 1);
    if (live_api_submit(sender->api, run_settle, done_settle, attempt) != 0)
        finish(attempt);
}

static void on_answer(int status, const char *why, struct blob *answer, void *context)
{
    settle(context, status, why);
}

/* --- the request --- */

static void send_attempt(struct webhook_sender *sender, struct webhook_task *task)
{
    const struct live_api_config *config = &sender->api->config;
    struct attempt *attempt = alloc_zero(1, sizeof(*attempt));
    char secret[WEBHOOK_SECRET_SIZE], timestamp[24], signature[PAYMENT_SIGNATURE_SIZE];
    char event_line[64], delivery_line[64], timestamp_line[64], signature_line[128];

    attempt->sender = sender;
    attempt->task = *task;
    metric_set(sender->sending, (double)++sender->in_flight);
    if (secret_open(sender->api, task->webhook.secret_sealed, task->webhook.secret_sealed_len, secret,
                    sizeof(secret)) != 0) {
        settle(attempt, 0, "its secret cannot be read: register it again");
        return;
    }
    snprintf(timestamp, sizeof(timestamp), "%lld", (long long)(clock_wall_ms() / 1000));
    payment_signature_make(secret, timestamp, task->body, strlen(task->body), signature);
    snprintf(event_line, sizeof(event_line), "X-Hanabi-Event: %s", task->delivery.event);
    snprintf(delivery_line, sizeof(delivery_line), "X-Hanabi-Delivery: %lld", (long long)task->delivery.id);
    snprintf(timestamp_line, sizeof(timestamp_line), PAYMENT_TIMESTAMP_HEADER ": %s", timestamp);
    snprintf(signature_line, sizeof(signature_line), PAYMENT_SIGNATURE_HEADER ": %s", signature);
    struct blob *body = blob_of_text(task->body);
    if (!body)
        abort();
    http_client_send(sender->http,
                     &(struct http_client_request){
                         .method = "POST",
                         .url = task->webhook.url,
                         .headers = (const char *[]){"Content-Type: application/json", "User-Agent: Hanabi-Webhooks/1",
                                                     event_line, delivery_line, timestamp_line, signature_line, NULL},
                         .body = body,
                         .timeout_ms = config->webhook_timeout_ms,
                         .max_response_bytes = MAX_ANSWER,
                         .only_status = true,
                         .only_public = !config->webhook_private,
                     },
                     on_answer, attempt);
    blob_unref(body);
}

/* --- what is due --- */

static void run_take(struct db_connection *connection, void *context)
{
    struct take_job *job = context;
    int64_t lease_ms = job->sender->api->config.webhook_timeout_ms + LEASE_MARGIN;

    job->code = webhook_row_take(connection, clock_wall_ms(), lease_ms, job->tasks, job->max, &job->count);
    if (job->code == 0 && job->is_pruning)
        job->code = webhook_row_prune(connection, clock_wall_ms());
}

static void done_take(int code, void *context)
{
    static struct log_limiter limiter = LOG_LIMITER(5000);
    struct take_job *job = context;
    struct webhook_sender *sender = job->sender;
    bool again = sender->is_wanted;

    sender->is_taking = sender->is_wanted = false;
    if (code != 0 || job->code != 0)
        log_limited(&limiter, LOG_LEVEL_WARN, "webhooks.not_taken",
                    log_str("why", db_strerror(code != 0 ? code : job->code)));
    for (size_t i = 0; i < job->count; i++)
        send_attempt(sender, &job->tasks[i]);
    free(job);
    if (again && code == 0)
        take(sender);
}

static void take(struct webhook_sender *sender)
{
    int64_t now_ms = clock_monotonic_ms();

    if (sender->is_taking || sender->in_flight >= MAX_IN_FLIGHT) {
        sender->is_wanted = sender->is_taking;
        return;
    }
    struct take_job *job = alloc_zero(1, sizeof(*job));
    job->sender = sender;
    job->max = MAX_IN_FLIGHT - sender->in_flight;
    job->is_pruning = now_ms >= sender->prune_at_ms;
    if (job->is_pruning)
        sender->prune_at_ms = now_ms + PRUNE_MS;
    sender->is_taking = true;
    if (live_api_submit(sender->api, run_take, done_take, job) != 0) {
        sender->is_taking = false;
        free(job);
    }
}

void webhook_sender_wake(struct webhook_sender *sender)
{
    take(sender);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    struct webhook_sender *sender = context;

    if (!service_is_draining(sender->api->service))
        take(sender);
}

struct webhook_sender *webhook_sender_create(struct live_api *api)
{
    const struct timeval period = {0, PERIOD_MS * 1000};
    struct webhook_sender *sender = alloc_zero(1, sizeof(*sender));
    struct metrics *metrics = service_metrics(api->service);

    sender->api = api;
    sender->http = http_client_create(service_loop(api->service), MAX_IN_FLIGHT);
    sender->timer = event_new(service_loop(api->service), -1, EV_PERSIST, on_timer, sender);
    if (!sender->http || !sender->timer)
        abort();
    event_add(sender->timer, &period);
    sender->delivered =
        metrics_counter(metrics, "hanabi_api_webhook_attempts_total", "requests to webhooks", "outcome=\"delivered\"");
    sender->failed =
        metrics_counter(metrics, "hanabi_api_webhook_attempts_total", "requests to webhooks", "outcome=\"failed\"");
    sender->sending = metrics_gauge(metrics, "hanabi_api_webhooks_sending", "requests to webhooks under way", NULL);
    return sender;
}

void webhook_sender_destroy(struct webhook_sender *sender)
{
    if (!sender)
        return;
    event_free(sender->timer);
    /* Reports what is under way as cancelled, and that finds the database gone. */
    http_client_destroy(sender->http);
    free(sender);
}
