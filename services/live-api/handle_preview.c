/* GET /api/v1/previews/{page}/{id}: a page of nothing but what a link preview needs (ogp.me). The pages themselves are
 * files, the same for all, and those who make previews run no script: the edge sends them here. */
#include "live_api.h"

#include "public_page.h"

#include <stdio.h>
#include <string.h>

#define ESCAPED(text) (sizeof(text) * 6)

static const char *const pages[] = {"watch", "archive"};

static const char *what_it_is(enum broadcast_state state)
{
    switch (state) {
    case BROADCAST_LIVE:
    case BROADCAST_SUSPENDED:
        return "is live now. Come and watch together.";
    case BROADCAST_SCHEDULED:
        return "will be live here.";
    case BROADCAST_ENDED:
        return "was live.";
    case BROADCAST_ARCHIVED:
    case BROADCAST_UNKNOWN:
        break;
    }
    return "was live: watch the recording, with the chat as it happened.";
}

static void answer(const struct public_page *page, void *context)
{
    const struct broadcast_view *view = &page->view;
    const char *path = context; /* "watch" or "archive" */
    char title[ESCAPED(view->title)], name[ESCAPED(view->owner_name)], image[sizeof(page->thumbnail) + 400] = "";
    char html[2 * sizeof(title) + 2 * sizeof(name) + sizeof(image) + 3 * PUBLIC_ORIGIN_SIZE + 2000];

    html_escape(view->title, title, sizeof(title));
    html_escape(view->owner_name, name, sizeof(name));
    if (page->thumbnail[0])
        snprintf(image, sizeof(image),
                 "<meta property=\"og:image\" content=\"%s\">\n"
                 "<meta name=\"twitter:card\" content=\"summary_large_image\">\n",
                 page->thumbnail);
    snprintf(html, sizeof(html),
             "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>%s</title>\n"
             "<meta property=\"og:site_name\" content=\"Hanabi\">\n"
             "<meta property=\"og:type\" content=\"video.other\">\n"
             "<meta property=\"og:title\" content=\"%s\">\n"
             "<meta property=\"og:description\" content=\"%s %s\">\n"
             "<meta property=\"og:url\" content=\"%s/%s/%s\">\n%s"
             "<link rel=\"alternate\" type=\"application/json+oembed\""
             " href=\"%s/api/v1/oembed?format=json&amp;url=%s/watch/%s\">\n"
             "</head>\n<body><p>%s</p></body>\n</html>\n",
             title, title, name, what_it_is(view->state), page->origin, path, view->id, image, page->origin,
             page->origin, view->id, name);
    http_reply_header(page->request, "Cache-Control", "public, max-age=60");
    http_reply_bytes(page->request, 200, "text/html; charset=utf-8", html, strlen(html));
}

void handle_preview(struct http_request *request, void *context)
{
    const char *page = http_request_param(request, "page"), *id = http_request_param(request, "id");

    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (strcmp(page, pages[i]) == 0 && id_is_valid(id)) {
            public_page_load(context, request, id, answer, NULL, (void *)pages[i]);
            return;
        }
    }
    http_reply_error(request, 404, "no_such_page", "there is no such page to preview");
}
