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

/* After the scheme of a Redis or of sentinels, which says what the rest means; NULL: it is none of them. */
static const char *parse_scheme(const char *text, struct redis_url *url)
{
    static const struct {
        const char *scheme;
        bool is_sentinel, is_tls;
    } forms[] = {{"redis://", false, false},
                 {"rediss://", false, true},
                 {"redis-sentinel://", true, false},
                 {"rediss-sentinel://", true, true}};

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        size_t len = strlen(forms[i].scheme);

        if (strncmp(text, forms[i].scheme, len) != 0)
            continue;
        url->is_sentinel = forms[i].is_sentinel;
        url->tls.is_on = forms[i].is_tls;
        return text + len;
    }
    return NULL;
}

/* `options`: "" or "?ca=/path". */
static int parse_options(const char *options, struct redis_url *url, char *error, size_t error_size)
{
    static const char ca_name[] = "?ca=";

    if (!*options)
        return 0;
    if (!url->tls.is_on || strncmp(options, ca_name, sizeof(ca_name) - 1) != 0)
        return fail(error, error_size, "the only option is ?ca=/path, of rediss:// and rediss-sentinel://");
    if (url_part_decode(url->tls.ca, sizeof(url->tls.ca), options + sizeof(ca_name) - 1, options + strlen(options)) !=
            0 ||
        url->tls.ca[0] != '/')
        return fail(error, error_size, "?ca= wants an absolute path of at most 255 bytes");
    return 0;
}

int redis_url_parse(const char *text, struct redis_url *url, char *error, size_t error_size)
{
    memset(url, 0, sizeof(*url));
    if (strncmp(text, "redis-unix://", 13) == 0)
        return parse_unix(text + 13, url, error, error_size);
    const char *begin = parse_scheme(text, url);
    if (!begin)
        return fail(error, error_size,
                    "must begin with redis://, rediss://, redis-sentinel://, rediss-sentinel:// or redis-unix://");

    const char *options = begin + strcspn(begin, "?");
    const char *slash = memchr(begin, '/', (size_t)(options - begin));
    const char *authority_end = slash ? slash : options;
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

    const char *path = slash ? slash + 1 : options;
    if (url->is_sentinel) {
        const char *master_end = path + strcspn(path, "/?");

        if (url_part_copy(url->master, sizeof(url->master), path, master_end) != 0)
            return fail(error, error_size, "redis-sentinel:// wants the name of the master after the addresses");
        path = *master_end == '/' ? master_end + 1 : master_end;
    }
    if (path < options) {
        url->db = url_part_number(path, options, 0, 65535);
        if (url->db < 0)
            return fail(error, error_size, "the database must be a number");
    }
    return parse_options(options, url, error, error_size);
}

int64_t redis_url_backoff_max_ms(const struct redis_url *url)
{
    return url->is_sentinel ? 250 : 1000;
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
