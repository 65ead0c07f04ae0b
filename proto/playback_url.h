/* Playback URLs that the edge can check by itself (nginx secure_link): the path carries the end of its validity and a
 * signature. The end lies on a grid, so that all viewers of a window share one URL and a CDN one object. Any thread;
 * no state. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PLAYBACK_URL_SIZE 600

struct playback_signer {
    const char *secret; /* the edge checks with the same */
    int64_t window_s;   /* all viewers get the same URL within this time; it is good for one to two of them */
};

/* "/hls/<expires>/<signature>/live/<id>/<file>"; the signature covers everything under live/<id>/, so what `file` names
 * relatively is reachable too. */
void playback_url_make(const struct playback_signer *signer, const char *id, int64_t now_s, const char *file, char *out,
                       size_t out_size);
