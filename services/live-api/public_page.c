#include "public_page.h"

#include "broadcast_row.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct load {
    struct public_page page;
    public_page_fn answer;
    void (*dispose)(void *context);
    void *context;
    bool found;
    int code;
};

void html_escape(const char *text, char *out, size_t out_size)
{
    size_t used = 0;

    for (; *text && used + 8 < out_size; text++) {
        const char *name = *text == '<'   ? "&lt;"
                           : *text == '>' ? "&gt;"
                           : *text == '&' ? "&amp;"
                           : *text == '"' ? "&quot;"
                                          : NULL;

        if (name)
            used += (size_t)sprintf(out + used, "%s", name);
        else
            out[used++] = *text;
    }
    out[used] = '\0';
}

void public_origin(const struct live_api *api, struct http_request *request, char out[PUBLIC_ORIGIN_SIZE])
{
    static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:[]";
    const char *host = http_request_header(request, "Host");
    const char *scheme = http_request_header(request, "X-Forwarded-Proto");

    if (api->config.public_url[0])
        snprintf(out, PUBLIC_ORIGIN_SIZE, "%s", api->config.public_url);
    else
        snprintf(out, PUBLIC_ORIGIN_SIZE, "%s://%s", scheme && strcmp(scheme, "https") == 0 ? "https" : "http",
                 host && host[strspn(host, allowed)] == '\0' ? host : "localhost");
}

static void run(struct db_connection *connection, void *context)
{
    struct load *load = context;
    char id[ID_SIZE];

    strcpy(id, load->page.view.id);
    load->code = broadcast_row_load(connection, id, &load->page.view, &load->found);
}

static void find_thumbnail(struct public_page *page)
{
    const struct playback_signer signer = live_api_signer(page->api);
    char path[PLAYBACK_URL_SIZE];

    if (page->view.live_at_ms == 0)
        return;
    playback_url_make(&signer, page->view.id, clock_wall_ms() / 1000, "thumbnail.jpg", path, sizeof(path));
    snprintf(page->thumbnail, sizeof(page->thumbnail), "%s%s", page->origin, path);
}

static void done(int code, void *context)
{
    struct load *load = context;
    struct public_page *page = &load->page;

    if (code == 0 && load->code == 0 && load->found && !page->view.is_private) {
        find_thumbnail(page);
        load->answer(page, load->context);
    } else {
        if (code != 0 || load->code != 0)
            reply_unavailable(page->request, "the database");
        else
            http_reply_error(page->request, 404, "no_such_broadcast", "there is no broadcast with this id");
        if (load->dispose)
            load->dispose(load->context);
    }
    free(load);
}

void public_page_load(struct live_api *api, struct http_request *request, const char *id, public_page_fn answer,
                      void (*dispose)(void *context), void *context)
{
    struct load *load = alloc_zero(1, sizeof(*load));

    load->page.api = api;
    load->page.request = request;
    public_origin(api, request, load->page.origin);
    snprintf(load->page.view.id, sizeof(load->page.view.id), "%s", id);
    load->answer = answer;
    load->dispose = dispose;
    load->context = context;
    if (live_api_submit(api, run, done, load) != 0)
        done(DB_FULL, load);
}
