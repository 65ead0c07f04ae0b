/* C1 with a digest carries HMAC-SHA256(key, C1 without those 32 bytes) at an offset that four of its own bytes give.
 * There are two layouts of that; the one that fits is answered in kind. No digest that fits: the plain handshake. */
#include "services/ingest/rtmp_handshake.h"

#include "libcommon/buffer.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

#define VERSION     3
#define DIGEST_SIZE 32

/* The text, then 32 bytes that only the long form of a key has. */
#define KEY_TAIL                                                                                                       \
    "\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57"                                                 \
    "\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae"
static const char server_key[] = "Genuine Adobe Flash Media Server 001" KEY_TAIL;
static const char client_key[] = "Genuine Adobe Flash Player 001" KEY_TAIL;
#define SERVER_KEY_SHORT (sizeof("Genuine Adobe Flash Media Server 001") - 1)
#define CLIENT_KEY_SHORT (sizeof("Genuine Adobe Flash Player 001") - 1)
#define SERVER_KEY_LONG  (sizeof(server_key) - 1)

void rtmp_handshake_init(struct rtmp_handshake *handshake)
{
    memset(handshake, 0, sizeof(*handshake));
}

static void hmac(const void *key, size_t key_len, const uint8_t *bytes, size_t len, uint8_t out[DIGEST_SIZE])
{
    unsigned out_len = DIGEST_SIZE;

    HMAC(EVP_sha256(), key, (int)key_len, bytes, len, out, &out_len);
}

size_t rtmp_handshake_digest_offset(const uint8_t hello[RTMP_HANDSHAKE_SIZE], int layout)
{
    size_t at = layout == 0 ? 8 : 772;
    size_t sum = (size_t)hello[at] + hello[at + 1] + hello[at + 2] + hello[at + 3];

    return sum % 728 + at + 4;
}

void rtmp_handshake_digest(const uint8_t hello[RTMP_HANDSHAKE_SIZE], size_t offset, int is_server,
                           uint8_t out[DIGEST_SIZE])
{
    uint8_t rest[RTMP_HANDSHAKE_SIZE - DIGEST_SIZE];

    memcpy(rest, hello, offset);
    memcpy(rest + offset, hello + offset + DIGEST_SIZE, sizeof(rest) - offset);
    if (is_server)
        hmac(server_key, SERVER_KEY_SHORT, rest, sizeof(rest), out);
    else
        hmac(client_key, CLIENT_KEY_SHORT, rest, sizeof(rest), out);
}

/* The layout in which the client's digest is right, or -1. */
static int find_digest(const uint8_t *c1, size_t *offset)
{
    uint8_t expected[DIGEST_SIZE];

    for (int layout = 0; layout < 2; layout++) {
        *offset = rtmp_handshake_digest_offset(c1, layout);
        rtmp_handshake_digest(c1, *offset, 0, expected);
        if (memcmp(expected, c1 + *offset, DIGEST_SIZE) == 0)
            return layout;
    }
    return -1;
}

static int answer(const uint8_t *c1, struct buffer *out)
{
    size_t client_offset;
    int layout = find_digest(c1, &client_offset);
    uint8_t *s0 = buffer_reserve(out, 1 + 2 * RTMP_HANDSHAKE_SIZE);

    if (!s0)
        return -1;
    uint8_t *s1 = s0 + 1, *s2 = s1 + RTMP_HANDSHAKE_SIZE;
    s0[0] = VERSION;
    if (RAND_bytes(s1, 2 * RTMP_HANDSHAKE_SIZE) != 1)
        return -1;
    memset(s1, 0, 8);
    if (layout < 0) {
        memcpy(s2, c1, RTMP_HANDSHAKE_SIZE);
    } else {
        uint8_t key[DIGEST_SIZE];
        size_t offset = rtmp_handshake_digest_offset(s1, layout);

        memcpy(s1 + 4, "\x04\x05\x00\x01", 4); /* a version that has digests */
        rtmp_handshake_digest(s1, offset, 1, s1 + offset);
        hmac(server_key, SERVER_KEY_LONG, c1 + client_offset, DIGEST_SIZE, key);
        hmac(key, DIGEST_SIZE, s2, RTMP_HANDSHAKE_SIZE - DIGEST_SIZE, s2 + RTMP_HANDSHAKE_SIZE - DIGEST_SIZE);
    }
    buffer_commit(out, 1 + 2 * RTMP_HANDSHAKE_SIZE);
    return 0;
}

int rtmp_handshake_feed(struct rtmp_handshake *handshake, const uint8_t *bytes, size_t len_bytes, size_t *taken,
                        struct buffer *out)
{
    const size_t hello_size = sizeof(handshake->hello);
    const size_t whole = hello_size + RTMP_HANDSHAKE_SIZE;

    *taken = 0;
    if (handshake->received < hello_size) {
        size_t part = hello_size - handshake->received;
        if (part > len_bytes)
            part = len_bytes;
        memcpy(handshake->hello + handshake->received, bytes, part);
        handshake->received += part;
        *taken = part;
        if (handshake->received > 0 && handshake->hello[0] != VERSION)
            return -1;
        if (handshake->received < hello_size)
            return 0;
        if (answer(handshake->hello + 1, out) != 0)
            return -1;
    }
    /* C2 echoes S1; too many clients get that wrong for it to be checked. */
    size_t part = whole - handshake->received;
    if (part > len_bytes - *taken)
        part = len_bytes - *taken;
    handshake->received += part;
    *taken += part;
    return handshake->received == whole;
}
