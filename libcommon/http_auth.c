#include "libcommon/http_auth.h"

#include "libcommon/clock.h"
#include "libcommon/http_server.h"
#include "libcommon/token_memory.h"

#include <string.h>

static bool refuse(struct http_request *request, int error)
{
    http_reply_header(request, "WWW-Authenticate", "Bearer");
    http_reply_error(request, 401, access_token_error_code(error),
                     "this needs a valid token: Authorization: Bearer <token>");
    return false;
}

static bool authenticate(struct http_request *request, const char *secret, bool anonymous_is_fine,
                         struct access_token *caller)
{
    const char *header = http_request_header(request, "Authorization");
    int error = access_token_verify(access_token_from_header(header), secret, clock_wall_ms() / 1000, caller);

    return error == 0 || (anonymous_is_fine && !header) || refuse(request, error);
}

bool http_auth_require(struct http_request *request, const char *secret, struct access_token *caller)
{
    return authenticate(request, secret, false, caller);
}

bool http_auth_require_known(struct http_request *request, struct token_memory *memory, struct access_token *caller)
{
    return http_auth_require_text(request, memory,
                                  access_token_from_header(http_request_header(request, "Authorization")), caller);
}

bool http_auth_require_text(struct http_request *request, struct token_memory *memory, const char *text,
                            struct access_token *caller)
{
    int error = token_memory_verify(memory, text, clock_wall_ms() / 1000, caller);

    return error == 0 || refuse(request, error);
}

bool http_auth_optional(struct http_request *request, const char *secret, struct access_token *caller)
{
    return authenticate(request, secret, true, caller);
}
