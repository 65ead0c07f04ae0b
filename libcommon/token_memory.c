#include "libcommon/token_memory.h"

#include "libcommon/alloc.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 400 /* of ours have 150 to 250 characters; longer ones are checked each time */

struct slot {
    size_t len; /* 0: free */
    char text[TEXT_MAX];
    struct access_token token;
};

struct token_memory {
    const char *secret;
    size_t slots;
    uint8_t key[crypto_shorthash_KEYBYTES]; /* so that nobody can choose what takes whose place */
    struct slot table[];
};

struct token_memory *token_memory_create(const char *secret, size_t slots)
{
    struct token_memory *memory = alloc_zero(1, sizeof(*memory) + slots * sizeof(memory->table[0]));

    assert(slots > 0 && (slots & (slots - 1)) == 0);
    memory->secret = secret;
    memory->slots = slots;
    randombytes_buf(memory->key, sizeof(memory->key));
    return memory;
}

void token_memory_destroy(struct token_memory *memory)
{
    free(memory);
}

static struct slot *slot_of(struct token_memory *memory, const char *text, size_t len)
{
    uint8_t hash[crypto_shorthash_BYTES];
    uint64_t number;

    crypto_shorthash(hash, (const unsigned char *)text, len, memory->key);
    memcpy(&number, hash, sizeof(number));
    return &memory->table[number & (memory->slots - 1)];
}

int token_memory_verify(struct token_memory *memory, const char *text, int64_t now_s, struct access_token *token)
{
    size_t len = text ? strlen(text) : 0;
    struct slot *slot;
    int code;

    if (len == 0 || len > TEXT_MAX)
        return access_token_verify(text, memory->secret, now_s, token);
    slot = slot_of(memory, text, len);
    /* In the same time whatever differs: a text that is nearly a good one must not show how near. */
    if (slot->len == len && sodium_memcmp(slot->text, text, len) == 0) {
        *token = slot->token;
        return token->expires_s > now_s ? 0 : ACCESS_TOKEN_EXPIRED;
    }
    code = access_token_verify(text, memory->secret, now_s, token);
    if (code == 0) {
        slot->len = len;
        memcpy(slot->text, text, len);
        slot->token = *token;
    }
    return code;
}
