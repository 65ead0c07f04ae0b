/* Who is asking: the bearer token of a request. A caller's subject is an id, of ACCESS_TOKEN_SUBJECT_CHARS and not
 * empty: a token that says anything else is none (access_token.h), so it may go into keys and rows as it is. Loop
 * thread only. */
#pragma once

#include "libcommon/access_token.h"

#include <stdbool.h>

struct http_request;
struct token_memory;

/* The caller; false: there is no valid token, and 401 has been answered. */
bool http_auth_require(struct http_request *request, const char *secret, struct access_token *caller);
/* The same, for callers who come again and again: token_memory.h. */
bool http_auth_require_known(struct http_request *request, struct token_memory *memory, struct access_token *caller);
/* The same for a token that came another way than in the header: `text` may be NULL. */
bool http_auth_require_text(struct http_request *request, struct token_memory *memory, const char *text,
                            struct access_token *caller);
/* The same where a caller may be anonymous: true with an empty subject when there is no token at all; a bad one is
 * still 401. */
bool http_auth_optional(struct http_request *request, const char *secret, struct access_token *caller);
