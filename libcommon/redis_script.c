/* The first call on a connection carries the text, so that NOSCRIPT, whose retry runs after whatever was sent
 * meanwhile, is left to SCRIPT FLUSH. A service has some ten scripts, so the cache is a list. */
#include "libcommon/redis_script.h"

#include "libcommon/alloc.h"

#include <hiredis/hiredis.h>
#include <openssl/evp.h>
#include <stdio.h>

#define SHA1_BYTES   20
#define SHA1_HEX     (2 * SHA1_BYTES)
#define PREFIX_COUNT 3 /* EVALSHA, hash, number of keys */

struct known_script {
    struct known_script *next;
    const struct redis_script *script;
    bool sent; /* on this connection */
    char sha1[SHA1_HEX + 1];
};

struct redis_script_cache {
    struct known_script *first;
};

struct redis_script_call {
    struct known_script *known;
    char keys[12];
    int count; /* with the prefix, whose places are filled when the call is formatted */
    const char **args;
    size_t *lens;
    char *bytes;
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

struct redis_script_call *redis_script_call_create(struct redis_script_cache *cache, const struct redis_script *script,
                                                   int count, const char *const *args, const size_t *lens)
{
    struct redis_script_call *call = alloc_zero(1, sizeof(*call));
    size_t total = 0, used = 0;

    call->known = know_script(cache, script);
    snprintf(call->keys, sizeof(call->keys), "%d", script->keys);
    call->count = PREFIX_COUNT + count;
    call->args = alloc_zero((size_t)call->count, sizeof(*call->args));
    call->lens = alloc_zero((size_t)call->count, sizeof(*call->lens));
    for (int i = 0; i < count; i++)
        total += call->lens[PREFIX_COUNT + i] = lens ? lens[i] : strlen(args[i]);
    call->bytes = alloc_zero(total + 1, 1);
    for (int i = 0; i < count; i++) {
        size_t len = call->lens[PREFIX_COUNT + i];

        if (len > 0)
            memcpy(call->bytes + used, args[i], len);
        call->args[PREFIX_COUNT + i] = call->bytes + used;
        used += len;
    }
    return call;
}

char *redis_script_call_format(const struct redis_script_call *call, bool is_retry, size_t *len_bytes)
{
    bool with_text = is_retry || !call->known->sent;
    char *command = NULL;

    call->args[0] = with_text ? "EVAL" : "EVALSHA";
    call->args[1] = with_text ? call->known->script->lua : call->known->sha1;
    call->args[2] = call->keys;
    for (int i = 0; i < PREFIX_COUNT; i++)
        call->lens[i] = strlen(call->args[i]);
    long long len = redisFormatCommandArgv(&command, call->count, call->args, call->lens);
    if (len < 0)
        abort();
    call->known->sent = true;
    *len_bytes = (size_t)len;
    return command;
}

void redis_script_call_free(struct redis_script_call *call)
{
    if (!call)
        return;
    free(call->args);
    free(call->lens);
    free(call->bytes);
    free(call);
}
