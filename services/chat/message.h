/* What the loop and the websocket workers say to each other: they share nothing but these queues.
 *
 * A queue is a mutex and a list; whoever pushes onto an empty one wakes the reader (`wake`). Messages own what they
 * point to; message_free() lets go of it. Any thread. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection;

/* Events on their way from Redis to all workers that have viewers of a room: text shared, never changed. */
struct event_batch {
    atomic_int references;
    size_t count, capacity;
    struct event_text {
        char *text;
        size_t len;
        int64_t at_ms; /* 0: not to be counted in the delivery delay */
    } events[];
};
/* Copies the text. Returns the batch, which may have moved: nobody else has it yet. `batch` NULL: a new one. */
struct event_batch *event_batch_append(struct event_batch *batch, const char *text, size_t len, int64_t at_ms);
struct event_batch *event_batch_ref(struct event_batch *batch);
void event_batch_unref(struct event_batch *batch); /* NULL is fine */

enum message_type {
    /* worker -> loop */
    MESSAGE_JOIN,    /* a connection wants in */
    MESSAGE_LEAVE,   /* it is closed: the last that is said of it, to be answered by MESSAGE_GONE */
    MESSAGE_COMMENT, /* text, ref */
    MESSAGE_DELETE,  /* text: the event's id, ref */
    MESSAGE_QUIET,   /* a worker that was asked to drain has no connection any more */
    /* loop -> worker */
    MESSAGE_WELCOME, /* into the audience `audience`; `text`: the first frame; `flag`: hold until the backlog comes */
    MESSAGE_BACKLOG, /* events of before the welcome; ends the hold */
    MESSAGE_PRIVATE, /* text: a frame for this connection alone */
    MESSAGE_CLOSE,   /* text: a last frame (may be NULL), code: of the close */
    MESSAGE_EVENTS,  /* for everybody in `audience` */
    MESSAGE_GONE,    /* the loop knows nothing of the connection any more: free it */
    MESSAGE_DRAIN,   /* stop listening, close everybody over `code` ms */
    MESSAGE_QUIT,
};

struct message {
    struct message *next;
    enum message_type type;
    bool flag;
    int code;
    uint64_t audience;
    int64_t at_ms; /* of what a client says: when it was read */
    struct connection *connection;
    struct event_batch *batch;
    char *text;
    size_t len;
    char ref[65];
};
struct message *message_create(enum message_type type, struct connection *connection);
void message_free(struct message *message);

struct message_queue {
    pthread_mutex_t lock;
    struct message *first, **last;
    size_t count;
    void (*wake)(void *context);
    void *context;
};
void message_queue_init(struct message_queue *queue, void (*wake)(void *context), void *context);
void message_queue_clear(struct message_queue *queue);
/* Takes the message. */
void message_queue_push(struct message_queue *queue, struct message *message);
size_t message_queue_count(struct message_queue *queue);
/* Everything there is, oldest first; NULL when empty. */
struct message *message_queue_take(struct message_queue *queue);
