/* Small decoders of libcommon that see what outsiders send: tokens, paths, percent escapes, addresses in
 * configurations. */
#include "libcommon/access_token.h"
#include "libcommon/http_route.h"
#include "libcommon/redis_url.h"
#include "libcommon/utf8.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(const char *text, size_t len)
{
    static const char *const patterns[] = {"/api/v1/broadcasts/{id}", "/api/v1/broadcasts/{id}/loves/ranking",
                                           "/playout/v1/{token}/{variant}/index.m3u8", "/", ""};
    struct http_route_match match;

    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        if (!http_route_matches(patterns[i], text, len, &match))
            continue;
        for (size_t p = 0; p < match.params_count; p++)
            assert(match.params[p].value >= text && match.params[p].value + match.params[p].value_len <= text + len &&
                   !memchr(match.params[p].value, '/', match.params[p].value_len));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct access_token token;
    struct redis_url url;
    char error[100], *text = strndup((const char *)data, size), *decoded;

    if (!text)
        abort();
    const size_t len = strlen(text);
    decoded = malloc(len + 1);
    for (int is_query = 0; is_query < 2; is_query++)
        if (http_percent_decode(text, len, is_query, decoded))
            assert(strlen(decoded) <= len);
    free(decoded);
    check_path(text, len);
    (void)utf8_is_valid(text);
    (void)redis_url_parse(text, &url, error, sizeof(error));
    const char *bearer = access_token_from_header(text);
    assert(access_token_verify(bearer ? bearer : text, "secret", 1000, &token) != 0); /* nobody signs without it */
    free(text);
    return 0;
}
