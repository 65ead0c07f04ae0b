/* GET /api/v1/oembed?url=&maxwidth=&maxheight=&format=json (oembed.com): what other sites need to show a broadcast in
 * their pages: an iframe of /embed/{id}. */
#include "live_api.h"

#include "broadcast_row.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "oembed_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_WIDTH  640
#define DEFAULT_HEIGHT 360

struct oembed_job {
    struct live_api *api;
    struct http_request *request;
    struct broadcast_view view;
    char origin[300];
    int width, height;
    bool found;
    int code;
};

/* --- the answer --- */

/* `text` for HTML, cut where it does not fit. */
static void escape_html(const char *text, char *out, size_t out_size)
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

static void answer(struct oembed_job *job)
{
    const struct broadcast_view *view = &job->view;
    char title[TITLE_MAX_CHARS * 4 * 6 + 16], html[sizeof(title) + 800], thumbnail[PLAYBACK_URL_SIZE + 300];
    char path[PLAYBACK_URL_SIZE];
    const struct playback_signer signer = live_api_signer(job->api);
    json_t *body;

    escape_html(view->title, title, sizeof(title));
    snprintf(html, sizeof(html),
             "<iframe src=\"%s/embed/%s\" width=\"%d\" height=\"%d\" title=\"%s\" frameborder=\"0\""
             " allow=\"autoplay; fullscreen; picture-in-picture\" allowfullscreen></iframe>",
             job->origin, view->id, job->width, job->height, title);
    body = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:i}", "type", "video", "version", "1.0", "provider_name",
                     "Hanabi", "title", view->title, "author_name", view->owner_name, "html", html, "width", job->width,
                     "height", job->height, "cache_age", 60);
    json_object_set_new(body, "provider_url", json_sprintf("%s/", job->origin));
    if (view->live_at_ms > 0) {
        playback_url_make(&signer, view->id, clock_wall_ms() / 1000, "thumbnail.jpg", path, sizeof(path));
        snprintf(thumbnail, sizeof(thumbnail), "%s%s", job->origin, path);
        json_object_set_new(body, "thumbnail_url", json_string(thumbnail));
        json_object_set_new(body, "thumbnail_width", json_integer(DEFAULT_WIDTH));
        json_object_set_new(body, "thumbnail_height", json_integer(DEFAULT_HEIGHT));
    }
    http_reply_json(job->request, 200, body);
    free(job);
}

static void run(struct db_connection *connection, void *context)
{
    struct oembed_job *job = context;
    char id[ID_SIZE];

    strcpy(id, job->view.id);
    job->code = broadcast_row_load(connection, id, &job->view, &job->found);
}

static void done(int code, void *context)
{
    struct oembed_job *job = context;

    /* Of a private recording nobody is told anything here, least of all a signature over its folder. */
    if (code == 0 && job->code == 0 && job->found && !job->view.is_private) {
        answer(job);
        return;
    }
    if (code != 0 || job->code != 0)
        reply_unavailable(job->request, "the database");
    else
        http_reply_error(job->request, 404, "no_such_broadcast", "there is no broadcast with this id");
    free(job);
}

/* --- the question --- */

/* Where the public finds us: as configured, else as the caller found us. */
static void find_origin(const struct live_api *api, struct http_request *request, char *out, size_t out_size)
{
    static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:[]";
    const char *host = http_request_header(request, "Host");
    const char *scheme = http_request_header(request, "X-Forwarded-Proto");

    if (api->config.public_url[0])
        snprintf(out, out_size, "%s", api->config.public_url);
    else
        snprintf(out, out_size, "%s://%s", scheme && strcmp(scheme, "https") == 0 ? "https" : "http",
                 host && host[strspn(host, allowed)] == '\0' ? host : "localhost");
}

/* A limit in pixels; false: 400 has been answered. */
static bool take_limit(struct http_request *request, const char *name, int *value)
{
    const char *text = http_request_query(request, name);
    char *end, message[80];
    long number = text ? strtol(text, &end, 10) : 0;

    if (!text)
        return true;
    if (end == text || *end || number < 1 || number > 10000) {
        snprintf(message, sizeof(message), "%s must be a whole number from 1 to 10000", name);
        http_reply_error(request, 400, "invalid_value", message);
        return false;
    }
    *value = (int)number;
    return true;
}

void handle_oembed(struct http_request *request, void *context)
{
    struct live_api *api = context;
    const char *url = http_request_query(request, "url"), *format = http_request_query(request, "format");
    int max_width = DEFAULT_WIDTH, max_height = 10000;
    char origin[300], id[ID_SIZE];

    if (format && strcmp(format, "json") != 0) {
        http_reply_error(request, 501, "format_not_implemented", "the only format is json");
        return;
    }
    if (!take_limit(request, "maxwidth", &max_width) || !take_limit(request, "maxheight", &max_height))
        return;
    if (!url) {
        http_reply_error(request, 400, "invalid_value", "url must be the address of a watch page");
        return;
    }
    find_origin(api, request, origin, sizeof(origin));
    if (!oembed_url_take_id(url, origin, id)) {
        http_reply_error(request, 404, "not_embeddable", "this is not the address of a page that can be embedded");
        return;
    }
    struct oembed_job *job = alloc_zero(1, sizeof(*job));
    job->api = api;
    job->request = request;
    strcpy(job->view.id, id);
    strcpy(job->origin, origin);
    job->width = max_width;
    job->height = job->width * 9 / 16;
    if (job->height > max_height) {
        job->height = max_height;
        job->width = max_height * 16 / 9;
    }
    if (live_api_submit(api, run, done, job) != 0)
        done(DB_FULL, job);
}
