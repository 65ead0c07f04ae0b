/* libcurl's multi interface driven by libevent; see http_client.h. */
#include "libcommon/http_client.h"

#include "libcommon/alloc.h"
#include "libcommon/buffer.h"
#include "libcommon/public_address.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define CONNECT_TIMEOUT_MS 2000L
/* A transfer that crawls below this for so long has been cut, whatever TCP thinks. */
#define LOW_SPEED_BYTES 1024L
#define LOW_SPEED_S     8L

struct transfer {
    TAILQ_ENTRY(transfer) link;
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    struct blob *body;
    size_t sent;
    struct buffer answer;
    char error[CURL_ERROR_SIZE];
    bool is_refused; /* it led to an address that is not public */
    bool only_status;
    http_client_fn done;
    void *context;
};

struct http_client {
    struct event_base *loop;
    CURLM *multi;
    struct event *timer;
    struct event *reap; /* finished transfers are reported from here, never from inside a call of ours */
    TAILQ_HEAD(, transfer) transfers;
};

static size_t on_read(char *out, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t len = transfer->body->len - transfer->sent;

    if (len > size * count)
        len = size * count;
    memcpy(out, transfer->body->data + transfer->sent, len);
    transfer->sent += len;
    return len;
}

/* A reused connection turned out to be closed: libcurl sends the body again. */
static int on_seek(void *context, curl_off_t offset, int origin)
{
    struct transfer *transfer = context;

    if (origin != SEEK_SET || offset < 0 || (size_t)offset > transfer->body->len)
        return CURL_SEEKFUNC_FAIL;
    transfer->sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static size_t on_answer(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;

    return buffer_append(&transfer->answer, bytes, size * count) == 0 ? size * count : 0;
}

/* Asked with the address that is about to be connected to, whatever the name stood for before. */
static curl_socket_t on_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer *transfer = context;

    if (!address_is_public(&address->addr)) {
        transfer->is_refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void free_transfer(struct transfer *transfer)
{
    TAILQ_REMOVE(&transfer->client->transfers, transfer, link);
    curl_multi_remove_handle(transfer->client->multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    blob_unref(transfer->body);
    buffer_clear(&transfer->answer);
    free(transfer);
}

static void finish_transfer(struct transfer *transfer, CURLcode result)
{
    struct blob *answer = blob_create(transfer->answer.len);
    const char *why = "";
    long status = 0;

    if (answer && transfer->answer.len > 0)
        memcpy(answer->data, transfer->answer.data, transfer->answer.len);
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    /* Below 200: an answer is still to come. */
    bool is_answered = result == CURLE_OK || (transfer->only_status && status >= 200);
    if (!is_answered || status == 0) {
        status = 0;
        why = transfer->is_refused ? "its address is not public"
              : transfer->error[0] ? transfer->error
                                   : curl_easy_strerror(result);
    }
    transfer->done((int)status, why, answer, transfer->context);
    blob_unref(answer);
    free_transfer(transfer);
}

static void on_reap(evutil_socket_t fd, short what, void *context)
{
    struct http_client *client = context;
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(client->multi, &left))) {
        struct transfer *transfer;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        finish_transfer(transfer, message->data.result);
    }
}

static void on_socket_event(evutil_socket_t fd, short what, void *context)
{
    struct http_client *client = context;
    int running, action = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);

    curl_multi_socket_action(client->multi, (curl_socket_t)fd, action, &running);
    on_reap(-1, 0, client);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *socket_context)
{
    struct http_client *client = context;
    struct event *event = socket_context;

    if (event)
        event_free(event);
    event = NULL;
    if (what != CURL_POLL_REMOVE) {
        short flags = (short)(EV_PERSIST | (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));

        event = event_new(client->loop, fd, flags, on_socket_event, client);
        event_add(event, NULL);
    }
    curl_multi_assign(client->multi, fd, event);
    return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct http_client *client = context;
    int running;

    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    on_reap(-1, 0, client);
}

static int on_timeout_change(CURLM *multi, long timeout_ms, void *context)
{
    struct http_client *client = context;
    struct timeval in = {timeout_ms / 1000, timeout_ms % 1000 * 1000};

    if (timeout_ms < 0)
        event_del(client->timer);
    else
        event_add(client->timer, &in);
    return 0;
}

struct http_client *http_client_create(struct event_base *loop, int max_connections)
{
    struct http_client *client = alloc_zero(1, sizeof(*client));

    curl_global_init(CURL_GLOBAL_DEFAULT);
    client->loop = loop;
    TAILQ_INIT(&client->transfers);
    client->timer = event_new(loop, -1, 0, on_timer, client);
    client->reap = event_new(loop, -1, 0, on_reap, client);
    client->multi = curl_multi_init();
    if (!client->multi)
        abort();
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timeout_change);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)max_connections);
    return client;
}

void http_client_destroy(struct http_client *client)
{
    struct transfer *transfer;

    if (!client)
        return;
    while ((transfer = TAILQ_FIRST(&client->transfers))) {
        transfer->done(0, "cancelled", NULL, transfer->context);
        free_transfer(transfer);
    }
    curl_multi_cleanup(client->multi);
    event_free(client->timer);
    event_free(client->reap);
    free(client);
    curl_global_cleanup();
}

static void set_body(struct transfer *transfer, const struct http_client_request *request)
{
    CURL *easy = transfer->easy;

    if (!request->body)
        return;
    transfer->body = blob_ref(request->body);
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body->len);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
    /* For bodies over 1 MiB libcurl asks for "100 Continue" first. The usual way to stop that, an empty Expect header,
     * would be signed by its SigV4 but not sent. */
    curl_easy_setopt(easy, CURLOPT_EXPECT_100_TIMEOUT_MS, 50L);
}

void http_client_send(struct http_client *client, const struct http_client_request *request, http_client_fn done,
                      void *context)
{
    struct transfer *transfer = alloc_zero(1, sizeof(*transfer));
    CURL *easy = transfer->easy = curl_easy_init();
    struct timeval now = {0, 0};

    if (!easy)
        abort();
    transfer->client = client;
    transfer->done = done;
    transfer->only_status = request->only_status;
    transfer->context = context;
    buffer_init(&transfer->answer, request->max_response_bytes);
    for (size_t i = 0; request->headers && request->headers[i]; i++)
        transfer->headers = curl_slist_append(transfer->headers, request->headers[i]);
    set_body(transfer, request);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, LOW_SPEED_BYTES);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, LOW_SPEED_S);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    if (request->only_public) {
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
    }
    if (request->sigv4) {
        curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, request->sigv4);
        curl_easy_setopt(easy, CURLOPT_USERPWD, request->user_password);
    }
    TAILQ_INSERT_TAIL(&client->transfers, transfer, link);
    /* What fails at once is reported by the reaper, from the loop. */
    curl_multi_add_handle(client->multi, easy);
    event_add(client->reap, &now);
}
