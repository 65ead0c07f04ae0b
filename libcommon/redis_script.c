/* The first call on a connection carries the text, so that NOSCRIPT, whose retry runs after whatever was sent
 * meanwhile, is left to SCRIPT FLUSH. A service has some ten scripts, so the cache is a list. */
#include "libcommon/redis_script.h"

#include "libcommon/alloc.h"

#include <openssl/evp.h>
#include <stdio.h>

#define SHA1_BYTES   20
#define SHA1_HEX     (2 * SHA1_BYTES)
#define PREFIX_COUNT 3 /* EVALSHA, hash, number of keys */

#define BULK_MORE_BYTES 25  /* around an argument: "$", a length, two line ends */
#define FRONT_BYTES     128 /* the beginning of a command, without the script */

struct known_script {
    struct known_script *next;
    const struct redis_script *script;
    bool sent; /* on this connection */
    char sha1[SHA1_HEX + 1];
};

struct redis_script_cache {
    struct known_script *first;
};

/* The command without its beginning, which says how the script is called: written once, for the call and its retry. */
struct redis_script_call {
    struct known_script *known;
    int keys, count;
    size_t len;
    char args[]; /* in the protocol's form */
};

struct redis_script_cache *redis_script_cache_create(void)
{
    return alloc_zero(1, sizeof(struct redis_script_cache));
}

void redis_script_cache_destroy(struct redis_script_cache *cache)
{
    while (cache->first) {
        struct known_script *known = cache->first;

        cache->first = known->next;
        free(known);
    }
    free(cache);
}

void redis_script_cache_forget(struct redis_script_cache *cache)
{
    for (struct known_script *known = cache->first; known; known = known->next)
        known->sent = false;
}

static struct known_script *know_script(struct redis_script_cache *cache, const struct redis_script *script)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct known_script *known;

    for (known = cache->first; known; known = known->next)
        if (known->script == script)
            return known;
    known = alloc_zero(1, sizeof(*known));
    known->script = script;
    /* Redis names scripts by SHA-1; nothing is protected by it. */
    if (EVP_Digest(script->lua, strlen(script->lua), digest, NULL, EVP_sha1(), NULL) != 1)
        abort();
    for (size_t i = 0; i < SHA1_BYTES; i++)
        snprintf(known->sha1 + 2 * i, 3, "%02x", digest[i]);
    known->next = cache->first;
    cache->first = known;
    return known;
}

/* "$<length>\r\n" */
static char *put_length(char *at, size_t len)
{
    char digits[24], *first = digits + sizeof(digits);

    do
        *--first = (char)('0' + len % 10);
    while (len /= 10);
    *at++ = '$';
    at = mempcpy(at, first, (size_t)(digits + sizeof(digits) - first));
    return mempcpy(at, "\r\n", 2);
}

static char *put_bulk(char *at, const char *bytes, size_t len)
{
    at = put_length(at, len);
    if (len > 0)
        at = mempcpy(at, bytes, len);
    return mempcpy(at, "\r\n", 2);
}

struct redis_script_call *redis_script_call_create(struct redis_script_cache *cache, const struct redis_script *script,
                                                   int count, const char *const *args, const size_t *lens)
{
    size_t total = 0;

    for (int i = 0; i < count; i++)
        total += (lens ? lens[i] : strlen(args[i])) + BULK_MORE_BYTES;
    struct redis_script_call *call = malloc(sizeof(*call) + total);
    if (!call)
        abort();
    call->known = know_script(cache, script);
    call->keys = script->keys;
    call->count = count;
    char *at = call->args;
    for (int i = 0; i < count; i++)
        at = put_bulk(at, args[i], lens ? lens[i] : strlen(args[i]));
    call->len = (size_t)(at - call->args);
    return call;
}

char *redis_script_call_format(const struct redis_script_call *call, bool is_retry, size_t *len_bytes)
{
    bool with_text = is_retry || !call->known->sent;
    const char *script = with_text ? call->known->script->lua : call->known->sha1;
    size_t script_len = strlen(script);
    char *command = malloc(FRONT_BYTES + script_len + call->len), keys[12], *at;
    int keys_len = snprintf(keys, sizeof(keys), "%d", call->keys);

    if (!command)
        abort();
    at = command + sprintf(command, "*%d\r\n", PREFIX_COUNT + call->count);
    at = with_text ? put_bulk(at, "EVAL", 4) : put_bulk(at, "EVALSHA", 7);
    at = put_bulk(at, script, script_len);
    at = put_bulk(at, keys, (size_t)keys_len);
    at = mempcpy(at, call->args, call->len);
    call->known->sent = true;
    *len_bytes = (size_t)(at - command);
    return command;
}

void redis_script_call_free(struct redis_script_call *call)
{
    free(call);
}
