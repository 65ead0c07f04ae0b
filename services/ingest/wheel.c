/* See wheel.h. The timer only runs while there are items. */
#include "services/ingest/wheel.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"

#include <event2/event.h>

#define SLOTS          8
#define ITEMS_PER_SLOT 32

struct wheel {
    struct event *timer;
    LIST_HEAD(wheel_slot, wheel_item) slots[SLOTS];
    unsigned used; /* slots; few items share few, since a visit costs a write to Redis and an answer at least */
    unsigned add_at, visit_at, items;
    int64_t due_ms; /* of the slot visit_at */
};

static void visit_slot(struct wheel_slot *slot, void (*visit)(struct wheel_item *item, int64_t now_ms), int64_t now_ms)
{
    struct wheel_item *item = LIST_FIRST(slot);

    while (item) {
        struct wheel_item *next = LIST_NEXT(item, entry);
        if (visit)
            visit(item, now_ms);
        else
            item->visit(item, now_ms);
        item = next;
    }
}

static int64_t step_ms(const struct wheel *wheel)
{
    return WHEEL_TURN_MS / wheel->used;
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    struct wheel *wheel = context;
    int64_t now_ms = clock_monotonic_ms();

    /* After a long turn of the loop (or a suspended machine) each slot is visited once, not as often as it was due. */
    if (now_ms - wheel->due_ms > WHEEL_TURN_MS)
        wheel->due_ms = now_ms - WHEEL_TURN_MS + step_ms(wheel);
    /* Ticks and due times have the same pace; half a step of tolerance keeps a tick that came a little early from
     * skipping its slot. */
    while (wheel->due_ms <= now_ms + step_ms(wheel) / 2) {
        unsigned slot = wheel->visit_at;
        wheel->visit_at = (slot + 1) % wheel->used;
        wheel->due_ms += step_ms(wheel);
        visit_slot(&wheel->slots[slot], NULL, now_ms);
    }
}

struct wheel *wheel_create(struct event_base *loop)
{
    struct wheel *wheel = alloc_zero(1, sizeof(*wheel));

    wheel->timer = event_new(loop, -1, EV_PERSIST, on_timer, wheel);
    if (!wheel->timer)
        abort();
    for (int i = 0; i < SLOTS; i++)
        LIST_INIT(&wheel->slots[i]);
    return wheel;
}

void wheel_destroy(struct wheel *wheel)
{
    if (!wheel)
        return;
    event_free(wheel->timer);
    free(wheel);
}

/* More items, more slots; fewer again only when all have gone, since every slot in use must be visited. */
static void set_used(struct wheel *wheel, unsigned used)
{
    struct timeval step;

    wheel->used = used;
    step = (struct timeval){0, (suseconds_t)step_ms(wheel) * 1000};
    event_add(wheel->timer, &step);
    wheel->due_ms = clock_monotonic_ms() + step_ms(wheel);
}

void wheel_add(struct wheel *wheel, struct wheel_item *item)
{
    if (wheel->items++ == 0) {
        wheel->visit_at = 0;
        set_used(wheel, 1);
    } else if (wheel->used < SLOTS && wheel->items > wheel->used * ITEMS_PER_SLOT) {
        set_used(wheel, wheel->used + 1);
    }
    wheel->add_at = (wheel->add_at + 1) % wheel->used;
    LIST_INSERT_HEAD(&wheel->slots[wheel->add_at], item, entry);
}

void wheel_remove(struct wheel *wheel, struct wheel_item *item)
{
    LIST_REMOVE(item, entry);
    if (--wheel->items == 0)
        event_del(wheel->timer);
}

unsigned wheel_items(const struct wheel *wheel)
{
    return wheel->items;
}

void wheel_visit_all(struct wheel *wheel, void (*visit)(struct wheel_item *item, int64_t now_ms))
{
    for (int i = 0; i < SLOTS; i++)
        visit_slot(&wheel->slots[i], visit, clock_monotonic_ms());
}
