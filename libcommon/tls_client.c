/* See tls_client.h. */
#include "libcommon/tls_client.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Errors of the system (no such file) are not in OpenSSL's own tables. */
const char *tls_error_reason(unsigned long error, const char *otherwise)
{
    const char *reason = ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error))
                         : error                 ? ERR_reason_error_string(error)
                                                 : NULL;

    return reason ? reason : otherwise;
}

static SSL_CTX *make_context(const char *ca_path, char *why, size_t why_size)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!context)
        abort();
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    /* A server that is killed says no good-bye; what it sent is complete or its protocol tells. */
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    ERR_clear_error();
    if (ca_path[0] ? SSL_CTX_load_verify_file(context, ca_path) == 1 : SSL_CTX_set_default_verify_paths(context) == 1)
        return context;
    /* The oldest error is the one that names the cause: the file that is missing, or what stands in it. */
    snprintf(why, why_size, "the CA file %s cannot be used: %s", ca_path,
             tls_error_reason(ERR_peek_error(), "no certificate in it"));
    ERR_clear_error();
    SSL_CTX_free(context);
    return NULL;
}

static int expect_host(SSL *session, const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host);
    return SSL_set_tlsext_host_name(session, host) == 1 && SSL_set1_host(session, host) == 1;
}

SSL *tls_client_session(const char *ca_path, const char *host, char *why, size_t why_size)
{
    SSL_CTX *context = make_context(ca_path, why, why_size);
    SSL *session = context ? SSL_new(context) : NULL;

    SSL_CTX_free(context); /* the session holds it */
    if (context && (!session || !expect_host(session, host)))
        abort();
    return session;
}

int tls_client_check_ca(const char *ca_path, char *why, size_t why_size)
{
    SSL_CTX *context = make_context(ca_path, why, why_size);

    SSL_CTX_free(context);
    return context ? 0 : -1;
}

void tls_client_explain(const SSL *session, unsigned long error, char *why, size_t why_size)
{
    long verified = SSL_get_verify_result(session);

    if (verified != X509_V_OK)
        snprintf(why, why_size, "TLS: the server's certificate is refused: %s",
                 X509_verify_cert_error_string(verified));
    else
        snprintf(why, why_size, "TLS: %s", tls_error_reason(error, "the hand-shake failed"));
}
