/* See request_scope.h. */
#include "libcommon/request_scope.h"

#include "libcommon/alloc.h"

#include <string.h>

static _Thread_local const char *current = "";

bool request_id_is_valid(const char *id)
{
    static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-.";
    size_t len = strlen(id);

    return len > 0 && len < REQUEST_ID_SIZE && strspn(id, allowed) == len;
}

const char *request_scope_id(void)
{
    return current;
}

const char *request_scope_enter(const char *id)
{
    const char *outer = current;

    current = id ? id : "";
    return outer;
}

void request_scope_leave(const char *outer)
{
    current = outer;
}

char *request_scope_copy(void)
{
    return current[0] ? alloc_string(current) : NULL;
}
