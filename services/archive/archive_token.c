/* Sealed URLs of private archives: whoever has the token may play, until it ends. */
#include "archive_view.h"

#include "libcommon/clock.h"
#include "libcommon/sealed_token.h"

#include <stdlib.h>
#include <string.h>

static struct sealed_token_key key_of_archive(const struct archive *archive)
{
    struct sealed_token_key key;

    sealed_token_key_init(&key, archive->config.seal_secret, "archive");
    return key;
}

void archive_token_make(const struct archive *archive, const char *id, char token[ARCHIVE_TOKEN_SIZE])
{
    const struct sealed_token_key key = key_of_archive(archive);
    int64_t end_s = sealed_token_window_end(clock_wall_ms() / 1000, archive->config.share_window_s);

    if (sealed_token_seal(&key, id, strlen(id), end_s, token, ARCHIVE_TOKEN_SIZE) != 0)
        abort(); /* an id always fits */
}

int archive_token_open(const struct archive *archive, const char *token, char id[ID_SIZE])
{
    const struct sealed_token_key key = key_of_archive(archive);
    size_t len = 0;
    int code = sealed_token_open(&key, token, clock_wall_ms() / 1000, id, ID_SIZE - 1, &len, NULL);

    id[code == 0 ? len : 0] = '\0';
    return code;
}
