/* The open pages that wait for a notice: requests that are answered when a broadcast of somebody whom their caller
 * follows starts, or when their time is over. Nothing is kept about a page between two requests, and what it missed
 * meanwhile it finds by its `since`, so any instance may take any of them.
 *
 * An announcement is matched against those who wait in portions, each one query by primary key, so the cost is that of
 * the pages that are open here and not that of the followers. Loop thread only. */
#pragma once

#include "live_api.h"

struct notice_view;
struct notice_waiters;

/* `max` requests wait, of one user `max_per_user` (1 or more). */
struct notice_waiters *notice_waiters_create(struct live_api *api, size_t max, size_t max_per_user);
/* After the database is down. Who still waits is answered. */
void notice_waiters_destroy(struct notice_waiters *waiters);

/* Rises with each announcement heard: whoever finds it changed since it last looked into MySQL looks again. */
uint64_t notice_waiters_heard(const struct notice_waiters *waiters);
/* Takes the request over; of a user with as many as may wait already, the oldest is answered and told to come back
 * later. False: in all as many as may wait do, or the process is going; `*retry_after_ms` says when to ask again. */
bool notice_waiters_add(struct notice_waiters *waiters, struct http_request *request, const char *user_id,
                        int64_t since, int64_t wait_ms, int64_t *retry_after_ms) __attribute__((warn_unused_result));
/* The broadcast that a message of CHANNEL_ANNOUNCE is about; false: it is about none. */
bool notice_announcement_take_id(const char *message, size_t len_bytes, char id[ID_SIZE]);
/* A message of CHANNEL_ANNOUNCE. */
void notice_waiters_announce(struct notice_waiters *waiters, const char *message, size_t len_bytes);
/* Announcements may have been missed: everybody is sent to look again within some seconds. */
void notice_waiters_missed(struct notice_waiters *waiters);
/* Answers everybody; nobody waits any more. */
void notice_waiters_drain(struct notice_waiters *waiters);

/* The answer's body; `unread` negative: not counted. */
json_t *notice_list_to_json(const struct notice_view *views, size_t count, int64_t unread, int64_t latest,
                            int64_t retry_after_ms);
