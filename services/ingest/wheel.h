/* Visits every connection once per turn, an eighth of them at a time. One timer instead of several per connection:
 * the visit looks at deadlines, and at a publisher also reads what has come and writes the group. So a publisher costs
 * one read and one XADD per turn, however its encoder slices the media. Loop thread only. */
#pragma once

#include <stdint.h>
#include <sys/queue.h>

/* Below MEDIA_RING_GROUP_MS; 15 s of such groups fit MEDIA_RING_MAX_GROUPS, key frames included. */
#define WHEEL_TURN_MS 80

struct event_base;
struct wheel;

struct wheel_item {
    LIST_ENTRY(wheel_item) entry;
    /* May remove (and free) its own item, no other. */
    void (*visit)(struct wheel_item *item, int64_t now_ms);
};

struct wheel *wheel_create(struct event_base *loop);
void wheel_destroy(struct wheel *wheel); /* NULL is fine; items are left as they are */
void wheel_add(struct wheel *wheel, struct wheel_item *item);
void wheel_remove(struct wheel *wheel, struct wheel_item *item);
unsigned wheel_items(const struct wheel *wheel);
/* Visits all now; for a drain. */
void wheel_visit_all(struct wheel *wheel, void (*visit)(struct wheel_item *item, int64_t now_ms));
