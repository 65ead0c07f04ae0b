/* The answers, as bytes ready for a socket. What all answers share is rendered once a second (Date), what a broadcast
 * needs once per change (status_table.h): an answer is then two copies and six digits. Pure; loop thread only. */
#pragma once

#include "services/burst-status/status_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define STATUS_ANSWER_MAX 640 /* bytes of any answer */

struct status_answers {
    char head[2][256]; /* of a 200, up to and with "Content-Length: "; [1] says Connection: close */
    size_t head_len[2];
    char date[32];
};

/* To be called about once a second. */
void status_answers_set_time(struct status_answers *answers, time_t now_s);

/* Each writes at most STATUS_ANSWER_MAX bytes to `out` and returns how many. `with_body` is false for HEAD. */
size_t status_answer_state(const struct status_answers *answers, char *out, const struct status_entry *entry,
                           uint32_t retry_after_ms, bool keep_alive, bool with_body);
/* 400, 404, 405, 414, 431, 503 or 505, as {"error":{"code","message"}}; retry_after_s 0: no Retry-After. */
size_t status_answer_error(const struct status_answers *answers, char *out, unsigned status, unsigned retry_after_s,
                           bool keep_alive, bool with_body);
/* To a browser that asks what is allowed from another site's page. */
size_t status_answer_options(const struct status_answers *answers, char *out, bool keep_alive);
