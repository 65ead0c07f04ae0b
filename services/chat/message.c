#include "message.h"

#include "libcommon/alloc.h"

/* --- batches --- */

static struct event_batch *with_capacity(struct event_batch *batch, size_t capacity)
{
    bool is_new = batch == NULL;

    batch = realloc(batch, sizeof(*batch) + capacity * sizeof(batch->events[0]));
    if (!batch)
        abort();
    batch->capacity = capacity;
    if (is_new) {
        atomic_init(&batch->references, 1);
        batch->count = 0;
    }
    return batch;
}

struct event_batch *event_batch_append(struct event_batch *batch, const char *text, size_t len, int64_t at_ms)
{
    struct event_text *event;

    if (!batch)
        batch = with_capacity(NULL, 4);
    else if (batch->count == batch->capacity)
        batch = with_capacity(batch, 2 * batch->capacity);
    event = &batch->events[batch->count++];
    event->text = alloc_zero(1, len + 1);
    memcpy(event->text, text, len);
    event->len = len;
    event->at_ms = at_ms;
    return batch;
}

struct event_batch *event_batch_ref(struct event_batch *batch)
{
    atomic_fetch_add_explicit(&batch->references, 1, memory_order_relaxed);
    return batch;
}

void event_batch_unref(struct event_batch *batch)
{
    if (!batch || atomic_fetch_sub_explicit(&batch->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < batch->count; i++)
        free(batch->events[i].text);
    free(batch);
}

/* --- messages --- */

struct message *message_create(enum message_type type, struct connection *connection)
{
    struct message *message = alloc_zero(1, sizeof(*message));

    message->type = type;
    message->connection = connection;
    return message;
}

void message_free(struct message *message)
{
    event_batch_unref(message->batch);
    free(message->text);
    free(message);
}

void message_queue_init(struct message_queue *queue, void (*wake)(void *context), void *context)
{
    pthread_mutex_init(&queue->lock, NULL);
    queue->first = NULL;
    queue->last = &queue->first;
    queue->count = 0;
    queue->wake = wake;
    queue->context = context;
}

void message_queue_clear(struct message_queue *queue)
{
    struct message *message = message_queue_take(queue), *next;

    for (; message; message = next) {
        next = message->next;
        message_free(message);
    }
    pthread_mutex_destroy(&queue->lock);
}

void message_queue_push(struct message_queue *queue, struct message *message)
{
    bool was_empty;

    message->next = NULL;
    pthread_mutex_lock(&queue->lock);
    was_empty = queue->first == NULL;
    *queue->last = message;
    queue->last = &message->next;
    queue->count++;
    pthread_mutex_unlock(&queue->lock);
    if (was_empty)
        queue->wake(queue->context);
}

struct message *message_queue_take(struct message_queue *queue)
{
    struct message *first;

    pthread_mutex_lock(&queue->lock);
    first = queue->first;
    queue->first = NULL;
    queue->last = &queue->first;
    queue->count = 0;
    pthread_mutex_unlock(&queue->lock);
    return first;
}

size_t message_queue_count(struct message_queue *queue)
{
    size_t count;

    pthread_mutex_lock(&queue->lock);
    count = queue->count;
    pthread_mutex_unlock(&queue->lock);
    return count;
}
