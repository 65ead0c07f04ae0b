#include "oembed_url.h"

#include <string.h>

bool oembed_url_take_id(const char *url, const char *origin, char id[ID_SIZE])
{
    static const char *const pages[] = {"/watch/", "/embed/"};
    size_t len = strlen(origin);

    if (strncmp(url, origin, len) != 0)
        return false;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        const char *rest = url + len;
        size_t id_len;

        if (strncmp(rest, pages[i], strlen(pages[i])) != 0)
            continue;
        rest += strlen(pages[i]);
        id_len = strcspn(rest, "?#");
        if (id_len == 0 || id_len >= ID_SIZE)
            return false;
        memcpy(id, rest, id_len);
        id[id_len] = '\0';
        return id_is_valid(id);
    }
    return false;
}
