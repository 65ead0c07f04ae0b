/* The endpoints of channels and of their playlists. Loop thread only. */
#pragma once

#include "archive.h"
#include "channel_rows.h"
#include "libcommon/http_server.h"

#define CHANNEL_PLAYOUT_PATH "/playout/v1/"

/* As it is answered; with playback_url. */
json_t *channel_to_json(const struct archive *archive, const struct channel_row *row);

void handle_channel_post(struct http_request *request, void *context);
void handle_channel_list(struct http_request *request, void *context);
void handle_channel_get(struct http_request *request, void *context);
void handle_channel_delete(struct http_request *request, void *context);
void handle_channel_multivariant(struct http_request *request, void *context);
void handle_channel_media(struct http_request *request, void *context);
