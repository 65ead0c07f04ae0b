/* Mail is taken out one by one, so that a receiver may be destroyed (mailbox_forget) by the delivery of a mail before.
 */
#include "services/transcoder/mailbox.h"

#include "libcommon/alloc.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* More than this per turn of the loop would keep Redis' answers waiting. */
#define BATCH 32

struct letter {
    struct letter *next;
    mail_fn deliver;
    void *receiver;
    struct mail mail;
};

struct mailbox {
    pthread_mutex_t lock;
    struct letter *first, **end;
    int wake_fd;
    void (*after_batch)(void *context);
    void *context;
    struct event *event;
};

static void letter_free(struct letter *letter)
{
    free(letter->mail.text);
    free(letter);
}

static void wake(struct mailbox *mailbox)
{
    const uint64_t one = 1;

    /* It fails only when the counter is full, and then the loop is awake. */
    if (write(mailbox->wake_fd, &one, sizeof(one)) < 0)
        return;
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    struct mailbox *mailbox = context;
    uint64_t count;

    if (read(fd, &count, sizeof(count)) < 0)
        return;
    for (int i = 0; i < BATCH; i++) {
        pthread_mutex_lock(&mailbox->lock);
        struct letter *letter = mailbox->first;
        if (letter) {
            mailbox->first = letter->next;
            if (!mailbox->first)
                mailbox->end = &mailbox->first;
        }
        pthread_mutex_unlock(&mailbox->lock);
        if (!letter)
            break;
        letter->deliver(letter->receiver, &letter->mail);
        letter_free(letter);
        if (i == BATCH - 1)
            wake(mailbox);
    }
    mailbox->after_batch(mailbox->context);
}

struct mailbox *mailbox_create(struct event_base *loop, void (*after_batch)(void *context), void *context)
{
    struct mailbox *mailbox = alloc_zero(1, sizeof(*mailbox));

    pthread_mutex_init(&mailbox->lock, NULL);
    mailbox->after_batch = after_batch;
    mailbox->context = context;
    mailbox->end = &mailbox->first;
    mailbox->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    mailbox->event = event_new(loop, mailbox->wake_fd, EV_READ | EV_PERSIST, on_wake, mailbox);
    if (mailbox->wake_fd < 0 || !mailbox->event)
        abort();
    event_add(mailbox->event, NULL);
    return mailbox;
}

void mailbox_destroy(struct mailbox *mailbox)
{
    if (!mailbox)
        return;
    mailbox_forget(mailbox, NULL);
    event_free(mailbox->event);
    close(mailbox->wake_fd);
    pthread_mutex_destroy(&mailbox->lock);
    free(mailbox);
}

void mailbox_post(struct mailbox *mailbox, mail_fn deliver, void *receiver, enum mail_kind kind, GstSample *sample,
                  const char *text)
{
    struct letter *letter = alloc_zero(1, sizeof(*letter));

    *letter = (struct letter){NULL, deliver, receiver, {kind, sample, alloc_string(text)}};
    pthread_mutex_lock(&mailbox->lock);
    *mailbox->end = letter;
    mailbox->end = &letter->next;
    pthread_mutex_unlock(&mailbox->lock);
    wake(mailbox);
}

void mailbox_forget(struct mailbox *mailbox, const void *receiver)
{
    pthread_mutex_lock(&mailbox->lock);
    for (struct letter **at = &mailbox->first; *at;) {
        struct letter *letter = *at;

        if (receiver && letter->receiver != receiver) {
            at = &letter->next;
            continue;
        }
        *at = letter->next;
        if (letter->mail.sample)
            gst_sample_unref(letter->mail.sample);
        letter_free(letter);
    }
    for (mailbox->end = &mailbox->first; *mailbox->end; mailbox->end = &(*mailbox->end)->next)
        continue;
    pthread_mutex_unlock(&mailbox->lock);
}
