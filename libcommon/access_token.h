/* The bearer tokens of callers: JWT signed with HMAC-SHA-256 (RFC 7519, RFC 7515), with libjwt. Any thread; no state.
 */
#pragma once

#include <stdint.h>

#define ACCESS_TOKEN_NAME_CHARS    100
#define ACCESS_TOKEN_SUBJECT_CHARS "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-"

struct access_token {
    char subject[65];                           /* "sub": user id, of ACCESS_TOKEN_SUBJECT_CHARS only */
    char name[ACCESS_TOKEN_NAME_CHARS * 4 + 1]; /* "name": UTF-8, cut behind so many characters */
    char role[32];                              /* "role": "viewer", "operator" */
    int64_t expires_s;                          /* "exp": seconds since 1970 */
    char audience[65];                          /* "aud": what alone the token is good for; "": everything */
};

enum access_token_error {
    ACCESS_TOKEN_MISSING = -1, /* no token at all */
    ACCESS_TOKEN_FORGED = -2,  /* not a token, another algorithm, or a signature that is not ours */
    ACCESS_TOKEN_EXPIRED = -3,
    ACCESS_TOKEN_ELSEWHERE = -4, /* a good one, for another audience */
};
/* For the caller: "expired_token", …, snake_case. */
const char *access_token_error_code(int error);

/* A token, to be freed with free(). NULL when memory is out. `secret` is the HMAC key. */
char *access_token_sign(const struct access_token *token, const char *secret);
/* 0 or an access_token_error. `text` may be NULL. `now_s`: seconds since 1970. A token with an audience is refused (RFC
 * 7519, 4.1.3: nobody takes one that is not meant for him). */
int access_token_verify(const char *text, const char *secret, int64_t now_s, struct access_token *token);
/* The same for whoever is an audience: a token without one is good, and one with just this one. */
int access_token_verify_for(const char *audience, const char *text, const char *secret, int64_t now_s,
                            struct access_token *token);
/* The token of an `Authorization: Bearer …` header's value; NULL when it is none. Points into `header`. */
const char *access_token_from_header(const char *header);
