#include "libcommon/token_memory.h"

#include "libcommon/alloc.h"

#include <assert.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 400 /* of ours have 150 to 250 characters; longer ones are checked each time */
#define WAYS     4 /* slots that a text may be in: with one, tokens that share it would push each other out for ever */

struct slot {
    uint64_t hash;
    size_t len; /* 0: free */
    char text[TEXT_MAX];
    struct access_token token;
};

struct token_memory {
    const char *secret;
    size_t sets, ways;
    size_t next_way;                        /* which of a set goes when all are taken: any of them */
    uint8_t key[crypto_shorthash_KEYBYTES]; /* so that nobody can choose what takes whose place */
    struct slot table[];
};

struct token_memory *token_memory_create(const char *secret, size_t slots)
{
    struct token_memory *memory = alloc_zero(1, sizeof(*memory) + slots * sizeof(memory->table[0]));

    assert(slots > 0 && (slots & (slots - 1)) == 0);
    memory->secret = secret;
    memory->ways = slots < WAYS ? slots : WAYS;
    memory->sets = slots / memory->ways;
    randombytes_buf(memory->key, sizeof(memory->key));
    return memory;
}

void token_memory_destroy(struct token_memory *memory)
{
    free(memory);
}

static uint64_t hash_of(const struct token_memory *memory, const char *text, size_t len)
{
    uint8_t hash[crypto_shorthash_BYTES];
    uint64_t number;

    crypto_shorthash(hash, (const unsigned char *)text, len, memory->key);
    memcpy(&number, hash, sizeof(number));
    return number;
}

/* In the same time whatever differs: a text that is nearly a good one must not show how near. */
static bool is_same(const struct slot *slot, uint64_t hash, const char *text, size_t len)
{
    return slot->hash == hash && slot->len == len && sodium_memcmp(slot->text, text, len) == 0;
}

int token_memory_verify(struct token_memory *memory, const char *text, int64_t now_s, struct access_token *token)
{
    size_t len = text ? strlen(text) : 0;
    struct slot *set, *slot = NULL;
    uint64_t hash;
    int code;

    if (len == 0 || len > TEXT_MAX)
        return access_token_verify(text, memory->secret, now_s, token);
    hash = hash_of(memory, text, len);
    set = &memory->table[(hash & (memory->sets - 1)) * memory->ways];
    for (size_t i = 0; i < memory->ways; i++) {
        if (is_same(&set[i], hash, text, len)) {
            *token = set[i].token;
            return token->expires_s > now_s ? 0 : ACCESS_TOKEN_EXPIRED;
        }
        if (set[i].len == 0 || set[i].token.expires_s <= now_s)
            slot = &set[i];
    }
    code = access_token_verify(text, memory->secret, now_s, token);
    if (code == 0) {
        if (!slot)
            slot = &set[memory->next_way++ % memory->ways];
        slot->hash = hash;
        slot->len = len;
        memcpy(slot->text, text, len);
        slot->token = *token;
    }
    return code;
}
