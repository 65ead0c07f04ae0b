/* Who came and who went, for whoever counts exactly later: lines gathered here, said to Redis now and then, exported by
 * archive. Loop thread only; a connection never waits for it. Off (HANABI_EXPORT): everything here does nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct audience_log;
struct chat;
struct connection;

struct audience_log *audience_log_create(struct chat *chat);
/* After the link to Redis has called back. */
void audience_log_destroy(struct audience_log *log);
/* The connection is in its room; it is about to leave it. */
void audience_log_join(struct chat *chat, struct connection *connection);
void audience_log_leave(struct chat *chat, const struct connection *connection);
/* Another process has died: nobody says of its viewers that they left. */
void audience_log_gone(struct chat *chat, const char *instance);
void audience_log_tick(struct chat *chat, int64_t now_ms);
/* Everything stands in Redis, or cannot. */
bool audience_log_is_idle(const struct chat *chat);
