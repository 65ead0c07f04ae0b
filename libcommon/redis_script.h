/* The two forms of a call of a Lua script, EVALSHA and EVAL, for redis_link.c. A call keeps its arguments until it is
 * answered, since Redis may say NOSCRIPT. Loop thread only. */
#pragma once

#include "libcommon/redis_link.h"

struct redis_script_cache; /* the hashes of the scripts seen so far, by pointer */
struct redis_script_call;

struct redis_script_cache *redis_script_cache_create(void);
void redis_script_cache_destroy(struct redis_script_cache *cache);
/* The connection is a new one, perhaps to another server: send the texts again. */
void redis_script_cache_forget(struct redis_script_cache *cache);

/* Copies the arguments. The script (a constant of the caller) and the cache must live as long. */
struct redis_script_call *redis_script_call_create(struct redis_script_cache *cache, const struct redis_script *script,
                                                   int count, const char *const *args, const size_t *lens);
/* A command in the protocol's form, for redis_connection_send_take: EVAL for the first call of a script since
 * redis_script_cache_forget and for a retry, else EVALSHA. */
char *redis_script_call_format(const struct redis_script_call *call, bool is_retry, size_t *len_bytes);
/* NULL is fine. */
void redis_script_call_free(struct redis_script_call *call);
