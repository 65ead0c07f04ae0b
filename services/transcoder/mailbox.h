/* From GStreamer's threads to the child's loop: a queue of media samples, and a file descriptor that wakes the loop.
 * Posting is for any thread; everything else is for the loop thread. The queue is bounded by its users: nobody pushes
 * more into a codec than engine_wants_input() allows. */
#pragma once

#include <gst/gst.h>

struct event_base;
struct mailbox;

enum mail_kind { MAIL_SAMPLE, MAIL_END, MAIL_ERROR };

struct mail {
    enum mail_kind kind;
    GstSample *sample; /* MAIL_SAMPLE: the receiver's, to be unreffed by it */
    char *text;        /* MAIL_ERROR: valid during the call */
};
typedef void (*mail_fn)(void *receiver, const struct mail *mail);

/* `after_batch` is called on the loop each time some mail has been delivered: codecs have room again. */
struct mailbox *mailbox_create(struct event_base *loop, void (*after_batch)(void *context), void *context);
void mailbox_destroy(struct mailbox *mailbox);
/* Any thread. Takes the sample, copies the text. */
void mailbox_post(struct mailbox *mailbox, mail_fn deliver, void *receiver, enum mail_kind kind, GstSample *sample,
                  const char *text);
/* Forgets what waits for a receiver that is about to die; may be called while mail is being delivered. */
void mailbox_forget(struct mailbox *mailbox, const void *receiver);
