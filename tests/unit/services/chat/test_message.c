/* The queues between threads: order, and nobody sleeps while something is there. */
#include "services/chat/message.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define WRITERS  4
#define MESSAGES 20000

static struct message_queue queue;
static sem_t bell;

static void ring(void *context)
{
    sem_post(&bell);
}

static void *write_messages(void *context)
{
    for (int i = 0; i < MESSAGES; i++) {
        struct message *message = message_create(MESSAGE_COMMENT, NULL);

        message->code = i;
        message->audience = (uint64_t)(uintptr_t)context;
        message_queue_push(&queue, message);
    }
    return NULL;
}

static void test_nothing_is_lost_and_order_is_kept(void **state)
{
    pthread_t threads[WRITERS];
    int next[WRITERS] = {0}, total = 0;

    sem_init(&bell, 0, 0);
    message_queue_init(&queue, ring, NULL);
    for (uintptr_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_messages, (void *)i), 0);
    while (total < WRITERS * MESSAGES) {
        struct message *message, *following;

        sem_wait(&bell);
        for (message = message_queue_take(&queue); message; message = following) {
            following = message->next;
            assert_int_equal(message->code, next[message->audience]++);
            message_free(message);
            total++;
        }
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(message_queue_count(&queue), 0);
    message_queue_clear(&queue);
    sem_destroy(&bell);
}

static void test_a_batch_lives_as_long_as_its_last_reader(void **state)
{
    struct event_batch *batch = NULL;
    struct message *message = message_create(MESSAGE_EVENTS, NULL);

    for (int i = 0; i < 9; i++)
        batch = event_batch_append(batch, "{}", 2, i);
    batch = event_batch_append(batch, "{\"a\":1}", 7, 5);
    assert_int_equal(batch->count, 10);
    assert_int_equal(batch->events[8].at_ms, 8);
    message->batch = event_batch_ref(batch);
    event_batch_unref(batch);
    assert_string_equal(message->batch->events[9].text, "{\"a\":1}");
    message_free(message);
    event_batch_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost_and_order_is_kept),
        cmocka_unit_test(test_a_batch_lives_as_long_as_its_last_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
