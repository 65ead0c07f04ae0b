/* A plain array: as many as the transcoder's capacity, looked through once per segment. */
#include "services/transcoder/checkpoint_keeper.h"

#include "libcommon/alloc.h"
#include "proto/broadcast.h"

#include <stdio.h>

struct kept {
    char broadcast[ID_SIZE];
    char *text;
    int64_t at_ms;
};

struct checkpoint_keeper {
    int max, count;
    struct kept kept[];
};

struct checkpoint_keeper *checkpoint_keeper_create(int max)
{
    struct checkpoint_keeper *keeper = alloc_zero(1, sizeof(*keeper) + sizeof(struct kept) * (size_t)max);

    keeper->max = max;
    return keeper;
}

static void drop(struct checkpoint_keeper *keeper, int i)
{
    free(keeper->kept[i].text);
    keeper->kept[i] = keeper->kept[--keeper->count];
}

void checkpoint_keeper_destroy(struct checkpoint_keeper *keeper)
{
    if (!keeper)
        return;
    while (keeper->count > 0)
        drop(keeper, keeper->count - 1);
    free(keeper);
}

static void drop_oldest(struct checkpoint_keeper *keeper)
{
    int oldest = 0;

    for (int i = 1; i < keeper->count; i++)
        if (keeper->kept[i].at_ms < keeper->kept[oldest].at_ms)
            oldest = i;
    drop(keeper, oldest);
}

void checkpoint_keeper_keep(struct checkpoint_keeper *keeper, const char *broadcast, const char *text, int64_t now_ms)
{
    checkpoint_keeper_forget(keeper, broadcast);
    if (keeper->count == keeper->max)
        drop_oldest(keeper);
    struct kept *kept = &keeper->kept[keeper->count++];

    snprintf(kept->broadcast, sizeof(kept->broadcast), "%s", broadcast);
    kept->text = alloc_string(text);
    kept->at_ms = now_ms;
}

void checkpoint_keeper_forget(struct checkpoint_keeper *keeper, const char *broadcast)
{
    for (int i = 0; i < keeper->count; i++)
        if (strcmp(keeper->kept[i].broadcast, broadcast) == 0) {
            drop(keeper, i);
            return;
        }
}

void checkpoint_keeper_for_each(struct checkpoint_keeper *keeper, int64_t now_ms,
                                void (*each)(const char *broadcast, const char *text, void *context), void *context)
{
    for (int i = keeper->count - 1; i >= 0; i--)
        if (now_ms - keeper->kept[i].at_ms > CHECKPOINT_KEEP_MS)
            drop(keeper, i);
        else
            each(keeper->kept[i].broadcast, keeper->kept[i].text, context);
}

int checkpoint_keeper_count(const struct checkpoint_keeper *keeper)
{
    return keeper->count;
}
