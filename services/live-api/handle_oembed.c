/* GET /api/v1/oembed?url=&maxwidth=&maxheight=&format=json (oembed.com): what other sites need to show a broadcast in
 * their pages: an iframe of /embed/{id}. */
#include "live_api.h"

#include "libcommon/alloc.h"
#include "oembed_url.h"
#include "public_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_WIDTH  640
#define DEFAULT_HEIGHT 360

struct player_size {
    int width, height;
};

static void answer(const struct public_page *page, void *context)
{
    struct player_size *size = context;
    char title[TITLE_MAX_CHARS * 4 * 6 + 16], html[sizeof(title) + 800];
    json_t *body;

    html_escape(page->view.title, title, sizeof(title));
    snprintf(html, sizeof(html),
             "<iframe src=\"%s/embed/%s\" width=\"%d\" height=\"%d\" title=\"%s\" frameborder=\"0\""
             " allow=\"autoplay; fullscreen; picture-in-picture\" allowfullscreen></iframe>",
             page->origin, page->view.id, size->width, size->height, title);
    body = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:i}", "type", "video", "version", "1.0", "provider_name",
                     "Hanabi", "title", page->view.title, "author_name", page->view.owner_name, "html", html, "width",
                     size->width, "height", size->height, "cache_age", 60);
    json_object_set_new(body, "provider_url", json_sprintf("%s/", page->origin));
    if (page->thumbnail[0]) {
        json_object_set_new(body, "thumbnail_url", json_string(page->thumbnail));
        json_object_set_new(body, "thumbnail_width", json_integer(DEFAULT_WIDTH));
        json_object_set_new(body, "thumbnail_height", json_integer(DEFAULT_HEIGHT));
    }
    http_reply_json(page->request, 200, body);
    free(size);
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
    char origin[PUBLIC_ORIGIN_SIZE], id[ID_SIZE];
    struct player_size *size;

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
    public_origin(api, request, origin);
    if (!oembed_url_take_id(url, origin, id)) {
        http_reply_error(request, 404, "not_embeddable", "this is not the address of a page that can be embedded");
        return;
    }
    size = alloc_zero(1, sizeof(*size));
    size->width = max_width;
    size->height = size->width * 9 / 16;
    if (size->height > max_height) {
        size->height = max_height;
        size->width = max_height * 16 / 9;
    }
    public_page_load(api, request, id, answer, free, size);
}
