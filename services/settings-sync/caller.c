/* Who is asking. */
#include "settings_sync.h"

#include "libcommon/clock.h"

bool caller_of(struct settings_sync *sync, struct http_request *request, struct access_token *caller)
{
    const char *text = access_token_from_header(http_request_header(request, "Authorization"));
    int error = access_token_verify(text, sync->config.jwt_secret, clock_wall_ms() / 1000, caller);

    if (error == 0 && id_is_valid(caller->subject))
        return true;
    http_reply_header(request, "WWW-Authenticate", "Bearer");
    http_reply_error(request, 401, access_token_error_code(error == 0 ? ACCESS_TOKEN_FORGED : error),
                     "this needs a valid token: Authorization: Bearer …");
    return false;
}
