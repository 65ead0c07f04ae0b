/* GET /playout/archives/{token}/recording.m3u8 and …/{rendition}/recording.m3u8: the playlists of a private recording.
 * They lie in the store like those of a public one; here their segments become signed paths of the edge. Nothing is
 * asked of MySQL: the token says which archive, and until when. */
#include "archive_http.h"
#include "archive_view.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/sealed_token.h"
#include "libcommon/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PLAYLIST_BYTES (32 << 20)

struct playlist_job {
    struct archive *archive;
    struct http_request *request;
    char id[ID_SIZE], rendition[ID_SIZE]; /* "": the multivariant playlist */
};

/* From /playout/archives/{token}/{rendition}/ to the root: whatever the origin puts in front of it, it stays valid. */
#define TO_ROOT "../../../.."

/* Every line that is a URI, put behind where it was relative to; a "../720p/1.ts" climbs from there as it did. */
static void print_signed(FILE *out, const struct playlist_job *job, const char *text, size_t len)
{
    const struct playback_signer signer = archive_signer(job->archive);
    char folder[PLAYBACK_URL_SIZE], name[ID_SIZE + 2];

    snprintf(name, sizeof(name), "%s/", job->rendition);
    playback_url_make(&signer, job->id, clock_wall_ms() / 1000, name, folder, sizeof(folder));
    for (const char *line = text, *end = text + len, *next; line < end; line = next) {
        next = memchr(line, '\n', (size_t)(end - line));
        next = next ? next + 1 : end;
        if (*line != '#' && *line != '\n')
            fprintf(out, TO_ROOT "%s", folder);
        fwrite(line, 1, (size_t)(next - line), out);
    }
}

static void answer(const struct playlist_job *job, const struct blob *blob)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (!out) {
        archive_reply_unavailable(job->request, "memory");
        return;
    }
    if (job->rendition[0])
        print_signed(out, job, (const char *)blob->data, blob->len);
    else
        fwrite(blob->data, 1, blob->len, out);
    if (fclose(out) == 0) {
        http_reply_header(job->request, "Cache-Control", "private, max-age=60");
        http_reply_bytes(job->request, 200, "application/vnd.apple.mpegurl", text, len);
    } else {
        archive_reply_unavailable(job->request, "memory");
    }
    free(text);
}

static void on_got(int code, const char *why, struct blob *blob, void *context)
{
    struct playlist_job *job = context;

    if (code == STORE_MISSING)
        archive_reply_missing(job->request);
    else if (code != 0)
        archive_reply_unavailable(job->request, "the store");
    else
        answer(job, blob);
    free(job);
}

static void serve(struct archive *archive, struct http_request *request, const char *rendition)
{
    char id[ID_SIZE], path[400];
    int code = archive_token_open(archive, http_request_param(request, "token"), id);

    if (code == SEALED_TOKEN_EXPIRED) {
        http_reply_error(request, 410, "expired", "this link has expired: ask its owner for a new one");
        return;
    }
    if (code != 0) {
        http_reply_error(request, 403, "bad_token", "this link was not made by us");
        return;
    }
    if (rendition[0] && !id_is_valid(rendition)) {
        archive_reply_missing(request);
        return;
    }
    struct playlist_job *job = alloc_zero(1, sizeof(*job));
    job->archive = archive;
    job->request = request;
    snprintf(job->id, sizeof(job->id), "%s", id);
    snprintf(job->rendition, sizeof(job->rendition), "%s", rendition);
    snprintf(path, sizeof(path), "live/%s/%s%s" ARCHIVE_RECORDING_FILE, id, rendition, rendition[0] ? "/" : "");
    store_get(archive->store, path, MAX_PLAYLIST_BYTES, on_got, job);
}

void handle_archive_playlist(struct http_request *request, void *context)
{
    serve(context, request, "");
}

void handle_archive_rendition(struct http_request *request, void *context)
{
    serve(context, request, http_request_param(request, "rendition"));
}
