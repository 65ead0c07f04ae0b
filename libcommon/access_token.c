#include "libcommon/access_token.h"

#include "libcommon/utf8.h"

#include <jwt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *access_token_error_code(int error)
{
    switch (error) {
    case ACCESS_TOKEN_MISSING:
        return "token_missing";
    case ACCESS_TOKEN_EXPIRED:
        return "token_expired";
    case ACCESS_TOKEN_ELSEWHERE:
        return "token_elsewhere";
    default:
        return "token_invalid";
    }
}

char *access_token_sign(const struct access_token *token, const char *secret)
{
    jwt_t *jwt = NULL;
    char *text = NULL, *copy = NULL;

    if (jwt_new(&jwt) != 0 ||
        jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *)secret, (int)strlen(secret)) != 0 ||
        jwt_add_grant(jwt, "sub", token->subject) != 0 || jwt_add_grant(jwt, "name", token->name) != 0 ||
        jwt_add_grant(jwt, "role", token->role) != 0 || jwt_add_grant_int(jwt, "exp", (long)token->expires_s) != 0)
        goto out;
    if (token->audience[0] && jwt_add_grant(jwt, "aud", token->audience) != 0)
        goto out;
    text = jwt_encode_str(jwt);
    copy = text ? strdup(text) : NULL;
out:
    if (text)
        free(text);
    jwt_free(jwt);
    return copy;
}

/* Copies the grant; false when it is absent, empty or too long. */
static int copy_grant(jwt_t *jwt, const char *name, char *out, size_t out_size)
{
    const char *value = jwt_get_grant(jwt, name);

    return value && value[0] && snprintf(out, out_size, "%s", value) < (int)out_size;
}

/* An id, as it goes into keys, paths and rows: one that the database would take for another, or that a key would be
 * read wrongly with, is nobody's. */
static int copy_subject(jwt_t *jwt, struct access_token *token)
{
    return copy_grant(jwt, "sub", token->subject, sizeof(token->subject)) &&
           !token->subject[strspn(token->subject, ACCESS_TOKEN_SUBJECT_CHARS)];
}

/* How long a name may be is up to whoever signs tokens; tables hold so many characters, and a row that does not fit
 * would keep the others of its transaction from being written for ever. */
static int copy_name(jwt_t *jwt, struct access_token *token)
{
    const char *value = jwt_get_grant(jwt, "name");
    size_t len = 0, step;

    for (int i = 0; value && i < ACCESS_TOKEN_NAME_CHARS && value[len] && (step = utf8_sequence_len(value + len)); i++)
        len += step;
    if (len == 0)
        return 0;
    memcpy(token->name, value, len);
    token->name[len] = '\0';
    return 1;
}

/* A string; anything else that is there (a list of several) is none of ours. */
static int check_audience(jwt_t *jwt, const char *audience, struct access_token *token)
{
    char *json = jwt_get_grants_json(jwt, "aud");
    bool is_given = json != NULL;

    free(json);
    if (!is_given)
        return 0;
    if (!copy_grant(jwt, "aud", token->audience, sizeof(token->audience)) || strcmp(token->audience, audience) != 0)
        return ACCESS_TOKEN_ELSEWHERE;
    return 0;
}

int access_token_verify_for(const char *audience, const char *text, const char *secret, int64_t now_s,
                            struct access_token *token)
{
    jwt_t *jwt = NULL;
    int result = ACCESS_TOKEN_FORGED;

    memset(token, 0, sizeof(*token));
    if (!text || !text[0])
        return ACCESS_TOKEN_MISSING;
    /* libjwt takes "alg":"none" for an unsigned token even when a key is given: the algorithm is checked, not believed.
     */
    if (jwt_decode(&jwt, text, (const unsigned char *)secret, (int)strlen(secret)) != 0 ||
        jwt_get_alg(jwt) != JWT_ALG_HS256)
        goto out;
    if (!copy_subject(jwt, token) || !copy_name(jwt, token) ||
        !copy_grant(jwt, "role", token->role, sizeof(token->role)))
        goto out;
    token->expires_s = jwt_get_grant_int(jwt, "exp");
    result = token->expires_s > now_s ? check_audience(jwt, audience, token) : ACCESS_TOKEN_EXPIRED;
out:
    jwt_free(jwt);
    return result;
}

int access_token_verify(const char *text, const char *secret, int64_t now_s, struct access_token *token)
{
    return access_token_verify_for("", text, secret, now_s, token);
}

const char *access_token_from_header(const char *header)
{
    if (!header || strncasecmp(header, "Bearer ", 7) != 0)
        return NULL;
    header += 7;
    return header + strspn(header, " ");
}
