/* See tls.h. */
#include "services/ingest/tls.h"

#include "libcommon/alloc.h"
#include "libcommon/log.h"
#include "libcommon/tls_client.h"

#include <event2/event.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#define LOOK_EVERY_S 5

struct tls {
    char *cert_path, *key_path;
    SSL_CTX *context;
    struct timespec cert_changed, key_changed;
    struct event *hangup, *look;
};

static struct timespec changed(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_mtim : (struct timespec){0, 0};
}

static SSL_CTX *load(const struct tls *tls, char *error, size_t error_size)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    const char *what = NULL;

    if (!context)
        abort();
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, tls->cert_path) != 1)
        what = tls->cert_path;
    else if (SSL_CTX_use_PrivateKey_file(context, tls->key_path, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(context) != 1)
        what = tls->key_path;
    if (!what)
        return context;
    snprintf(error, error_size, "%s: %s", what, tls_error_reason(ERR_peek_error(), "does not load"));
    SSL_CTX_free(context);
    return NULL;
}

static void reload(struct tls *tls)
{
    char error[400];
    SSL_CTX *context = load(tls, error, sizeof(error));

    tls->cert_changed = changed(tls->cert_path);
    tls->key_changed = changed(tls->key_path);
    if (!context) {
        log_error("certificate.refused", log_str("why", error));
        return;
    }
    SSL_CTX_free(tls->context);
    tls->context = context;
    log_info("certificate.loaded", log_str("path", tls->cert_path));
}

static void on_hangup(evutil_socket_t fd, short events, void *context)
{
    reload(context);
}

static bool is_same(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void on_look(evutil_socket_t fd, short events, void *context)
{
    struct tls *tls = context;

    if (!is_same(changed(tls->cert_path), tls->cert_changed) || !is_same(changed(tls->key_path), tls->key_changed))
        reload(tls);
}

struct tls *tls_create(struct event_base *loop, const char *cert_path, const char *key_path, char *error,
                       size_t error_size)
{
    static const struct timeval interval = {LOOK_EVERY_S, 0};
    struct tls *tls = alloc_zero(1, sizeof(*tls));

    tls->cert_path = alloc_string(cert_path);
    tls->key_path = alloc_string(key_path);
    tls->context = load(tls, error, error_size);
    if (!tls->context) {
        tls_destroy(tls);
        return NULL;
    }
    tls->cert_changed = changed(cert_path);
    tls->key_changed = changed(key_path);
    tls->hangup = evsignal_new(loop, SIGHUP, on_hangup, tls);
    tls->look = event_new(loop, -1, EV_PERSIST, on_look, tls);
    if (!tls->hangup || !tls->look)
        abort();
    evsignal_add(tls->hangup, NULL);
    event_add(tls->look, &interval);
    return tls;
}

void tls_destroy(struct tls *tls)
{
    if (!tls)
        return;
    if (tls->hangup)
        event_free(tls->hangup);
    if (tls->look)
        event_free(tls->look);
    SSL_CTX_free(tls->context);
    free(tls->cert_path);
    free(tls->key_path);
    free(tls);
}

SSL_CTX *tls_context(const struct tls *tls)
{
    return tls->context;
}
