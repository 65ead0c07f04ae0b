/* Where a Redis is: the forms of URL of redis_link.h, taken apart. No I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REDIS_URL_MAX_SENTINELS 8

struct redis_address {
    char host[256]; /* a name, an address, or (port 0) the path of a Unix socket */
    int port;
};

/* How to talk to all addresses of a URL. */
struct redis_tls {
    bool is_on;
    char ca[256]; /* PEM file; empty: what the system trusts */
};

struct redis_url {
    bool is_sentinel;
    struct redis_tls tls;                                    /* of the sentinels, too */
    struct redis_address addresses[REDIS_URL_MAX_SENTINELS]; /* the sentinels, or the one server */
    size_t address_count;
    char master[64];    /* of a sentinel URL */
    char password[256]; /* empty: none. Given to Redis, not to the sentinels */
    int db;
};

/* 0, or -1 with a sentence (without the password) in `error`. */
int redis_url_parse(const char *text, struct redis_url *url, char *error, size_t error_size);
/* How long to wait at most before the next attempt to connect, when nobody says otherwise: behind Sentinel a failover
 * is over as soon as the next master is named, and leases do not last long. */
int64_t redis_url_backoff_max_ms(const struct redis_url *url);
bool redis_address_equal(const struct redis_address *a, const struct redis_address *b);
/* "host:port" or the path, for logs. */
void redis_address_format(const struct redis_address *address, char *out, size_t out_size);
