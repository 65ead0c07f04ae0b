/* Who is asking. */
#include "settings_sync.h"

#include "libcommon/http_auth.h"

bool caller_of(struct settings_sync *sync, struct http_request *request, struct access_token *caller)
{
    if (!http_auth_require(request, sync->config.jwt_secret, caller))
        return false;
    if (id_is_valid(caller->subject))
        return true;
    http_reply_error(request, 401, access_token_error_code(ACCESS_TOKEN_FORGED),
                     "the token's subject is not one of our ids");
    return false;
}
