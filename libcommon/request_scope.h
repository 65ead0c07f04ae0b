/* Which request the running code works for, so that every log line and every transaction it causes can say so: from the
 * socket through jobs on other threads and answers of Redis to the last line.
 *
 * The HTTP server enters the scope around a handler; db_submit and redis_link_command take the id of the scope that
 * they are called in along, and their callbacks run in it again. log_write adds "request_id". What is started outside
 * of a request (a timer, a message of somebody else) has none. What is done for many requests at once is started
 * outside of all, with request_scope_enter(NULL): a queue that never runs empty would else bear its first one's id for
 * ever. Any thread: each has a scope of its own. */
#pragma once

#include <stdbool.h>

#define REQUEST_ID_SIZE 65

/* At most 64 of 0-9 A-Z a-z _ - . : harmless in a header, a log and an SQL comment. */
bool request_id_is_valid(const char *id);
/* "" outside of a request. */
const char *request_scope_id(void);
/* `id` (NULL or "": none) has to be valid and live until request_scope_leave, which takes what this returns. */
const char *request_scope_enter(const char *id) __attribute__((warn_unused_result));
void request_scope_leave(const char *outer);
/* The id for work that goes on later, to be freed with free(); NULL: none. */
char *request_scope_copy(void);
