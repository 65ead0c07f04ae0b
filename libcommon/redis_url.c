/* Strict on purpose: a URL comes from the configuration, and a typing error must stop the start with a sentence. */
#include "libcommon/redis_url.h"

#include "libcommon/url_part.h"

#include <stdio.h>
#include <string.h>

static int fail(char *error, size_t error_size, const char *sentence)
{
    if (error && error_size > 0)
        snprintf(error, error_size, "%s", sentence);
    return -1;
}

static int parse_addresses(const char *begin, const char *end, int default_port, struct redis_url *url)
{
    while (begin <= end) {
        const char *comma = memchr(begin, ',', (size_t)(end - begin));
        const char *stop = comma ? comma : end;

        if (url->address_count == REDIS_URL_MAX_SENTINELS ||
            url_part_host(begin, stop, default_port, url->addresses[url->address_count].host,
                          sizeof(url->addresses[0].host), &url->addresses[url->address_count].port) != 0)
            return -1;
        url->address_count++;
        begin = stop + 1;
    }
    return 0;
}

static int parse_unix(const char *path, struct redis_url *url, char *error, size_t error_size)
{
    /* sun_path holds 108 bytes with the NUL. */
    if (path[0] != '/' || strlen(path) > 107)
        return fail(error, error_size, "redis-unix:// wants an absolute path of at most 107 bytes");
    snprintf(url->addresses[0].host, sizeof(url->addresses[0].host), "%s", path);
    url->address_count = 1;
    return 0;
}

int redis_url_parse(const char *text, struct redis_url *url, char *error, size_t error_size)
{
    const char *begin;

    memset(url, 0, sizeof(*url));
    if (strncmp(text, "redis-unix://", 13) == 0)
        return parse_unix(text + 13, url, error, error_size);
    if (strncmp(text, "redis-sentinel://", 17) == 0) {
        url->is_sentinel = true;
        begin = text + 17;
    } else if (strncmp(text, "redis://", 8) == 0) {
        begin = text + 8;
    } else {
        return fail(error, error_size, "must begin with redis://, redis-sentinel:// or redis-unix://");
    }

    const char *slash = strchr(begin, '/');
    const char *authority_end = slash ? slash : begin + strlen(begin);
    const char *at = memchr(begin, '@', (size_t)(authority_end - begin));

    if (at) {
        if (*begin != ':' || url_part_decode(url->password, sizeof(url->password), begin + 1, at) != 0)
            return fail(error, error_size, "the password must be written :password@, with %XX for special characters");
        begin = at + 1;
    }
    if (parse_addresses(begin, authority_end, url->is_sentinel ? 26379 : 6379, url) != 0)
        return fail(error, error_size, "must name host:port (at most 8 of them, and several only for sentinels)");
    if (!url->is_sentinel && url->address_count != 1)
        return fail(error, error_size, "several addresses are only for redis-sentinel://");

    const char *path = slash ? slash + 1 : "";
    if (url->is_sentinel) {
        const char *master_end = path + strcspn(path, "/");

        if (url_part_copy(url->master, sizeof(url->master), path, master_end) != 0)
            return fail(error, error_size, "redis-sentinel:// wants the name of the master after the addresses");
        path = *master_end ? master_end + 1 : master_end;
    }
    if (*path) {
        url->db = url_part_number(path, path + strlen(path), 0, 65535);
        if (url->db < 0)
            return fail(error, error_size, "the database must be a number");
    }
    return 0;
}

bool redis_address_equal(const struct redis_address *a, const struct redis_address *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

void redis_address_format(const struct redis_address *address, char *out, size_t out_size)
{
    if (address->port == 0)
        snprintf(out, out_size, "%s", address->host);
    else
        snprintf(out, out_size, strchr(address->host, ':') ? "[%s]:%d" : "%s:%d", address->host, address->port);
}
