/* Which broadcast the URL of an oEmbed question is about. Pure; any thread. */
#pragma once

#include "proto/broadcast.h"

#include <stdbool.h>

/* The id in "<origin>/watch/<id>" or "<origin>/embed/<id>"; false: it is no page of ours. */
bool oembed_url_take_id(const char *url, const char *origin, char id[ID_SIZE]);
