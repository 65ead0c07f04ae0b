#include "settings_memory.h"
#include "table.h"

#include "libcommon/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SIZE  (32 + 2 * ID_SIZE)
#define EARLY_MAX 256 /* versions heard before their predecessors */

struct entry {
    int64_t version;
    bool is_deleted; /* kept while an older message may still come */
    int64_t number;  /* until_ms of a mute, seconds of a slow mode */
    char text[];     /* of a decoration: its JSON */
};

struct settings_memory {
    struct table *entries; /* "<kind>|<subject>|<object>" */
    size_t max_entries;
    int64_t version, heard;
    int64_t early[EARLY_MAX]; /* above `version`, unordered */
    size_t early_count;
};

struct settings_memory *settings_memory_create(size_t max_entries)
{
    struct settings_memory *memory = alloc_zero(1, sizeof(*memory));

    memory->entries = table_create();
    memory->max_entries = max_entries;
    return memory;
}

void settings_memory_destroy(struct settings_memory *memory)
{
    if (!memory)
        return;
    table_destroy(memory->entries, free);
    free(memory);
}

static const char *key_for(char key[KEY_SIZE], enum setting_kind_id kind, const char *subject, const char *object)
{
    snprintf(key, KEY_SIZE, "%d|%s|%s", (int)kind, subject, object);
    return key;
}

static const struct entry *find(const struct settings_memory *memory, enum setting_kind_id kind, const char *subject,
                                const char *object)
{
    char key[KEY_SIZE];
    const struct entry *entry = table_get(memory->entries, key_for(key, kind, subject, object));

    return entry && !entry->is_deleted ? entry : NULL;
}

/* --- versions --- */

static bool take_early(struct settings_memory *memory, int64_t version)
{
    for (size_t i = 0; i < memory->early_count; i++) {
        if (memory->early[i] == version) {
            memory->early[i] = memory->early[--memory->early_count];
            return true;
        }
    }
    return false;
}

static int drop_if_deleted(const char *key, void *value, void *context)
{
    struct entry *entry = value;

    if (!entry->is_deleted || entry->version > *(const int64_t *)context)
        return 0;
    free(entry);
    return 1;
}

/* Everything up to `version` is known. */
static void advance_to(struct settings_memory *memory, int64_t version)
{
    size_t kept = 0;

    if (version > memory->version)
        memory->version = version;
    for (size_t i = 0; i < memory->early_count; i++)
        if (memory->early[i] > memory->version)
            memory->early[kept++] = memory->early[i];
    memory->early_count = kept;
    while (memory->early_count > 0 && take_early(memory, memory->version + 1))
        memory->version++;
}

void settings_memory_hear(struct settings_memory *memory, int64_t version)
{
    if (version > memory->heard)
        memory->heard = version;
}

/* --- values --- */

static struct entry *entry_from(const struct setting_event *event)
{
    char *text = event->value && event->kind->id == SETTING_DECORATION ? json_dumps(event->value, JSON_COMPACT) : NULL;
    struct entry *entry = alloc_zero(1, sizeof(*entry) + (text ? strlen(text) : 0) + 1);

    entry->version = event->version;
    entry->is_deleted = event->value == NULL;
    if (text)
        strcpy(entry->text, text);
    if (event->kind->id == SETTING_MUTE)
        entry->number = json_integer_value(json_object_get(event->value, "until_ms"));
    if (event->kind->id == SETTING_SLOW_MODE)
        entry->number = json_integer_value(json_object_get(event->value, "seconds"));
    free(text);
    return entry;
}

/* `is_settled`: no older message for this entry can matter any more. */
static enum settings_applied store(struct settings_memory *memory, const struct setting_event *event, bool is_settled)
{
    char key[KEY_SIZE];
    struct entry *old;

    if (!event->kind || event->kind->spread == SETTING_LAZY)
        return SETTINGS_TAKEN;
    key_for(key, event->kind->id, event->subject, event->object);
    old = table_get(memory->entries, key);
    if (old && old->version >= event->version)
        return SETTINGS_OLD;
    /* A notice is said once; only MySQL keeps it. */
    if (event->kind->id == SETTING_NOTICE)
        return SETTINGS_TAKEN;
    if (!event->value && is_settled) {
        free(table_take(memory->entries, key));
        return SETTINGS_TAKEN;
    }
    if (!old && table_count(memory->entries) >= memory->max_entries)
        return SETTINGS_FULL;
    free(old);
    table_set(memory->entries, key, entry_from(event));
    return SETTINGS_TAKEN;
}

enum settings_applied settings_memory_apply(struct settings_memory *memory, const struct setting_event *event)
{
    enum settings_applied applied;

    settings_memory_hear(memory, event->version);
    if (event->version <= memory->version)
        return SETTINGS_OLD;
    for (size_t i = 0; i < memory->early_count; i++)
        if (memory->early[i] == event->version)
            return SETTINGS_OLD;
    applied = store(memory, event, event->version == memory->version + 1);
    if (event->version == memory->version + 1)
        advance_to(memory, event->version);
    else if (memory->early_count < EARLY_MAX)
        memory->early[memory->early_count++] = event->version;
    return applied;
}

enum settings_applied settings_memory_read(struct settings_memory *memory, const struct setting_event *event)
{
    enum settings_applied applied = SETTINGS_OLD;
    bool was_early = false;

    settings_memory_hear(memory, event->version);
    for (size_t i = 0; i < memory->early_count; i++)
        was_early = was_early || memory->early[i] == event->version;
    if (event->version > memory->version && !was_early)
        applied = store(memory, event, true);
    advance_to(memory, event->version);
    if (memory->version == memory->heard && was_early)
        table_each(memory->entries, drop_if_deleted, &memory->version);
    return applied;
}

int64_t settings_memory_version(const struct settings_memory *memory)
{
    return memory->version;
}

int64_t settings_memory_heard(const struct settings_memory *memory)
{
    return memory->heard;
}

size_t settings_memory_count(const struct settings_memory *memory)
{
    return table_count(memory->entries);
}

/* --- broadcasts that are over --- */

/* The subject of a key, where it is a broadcast; false: of a user. */
static bool broadcast_of(const char *key, char id[ID_SIZE])
{
    char *end;
    enum setting_kind_id kind = (enum setting_kind_id)strtol(key, &end, 10);
    size_t len = strcspn(end + 1, "|");

    if (!setting_kind_of(kind)->of_broadcast || len >= ID_SIZE)
        return false;
    memcpy(id, end + 1, len);
    id[len] = '\0';
    return true;
}

static int gather_broadcast(const char *key, void *value, void *context)
{
    char id[ID_SIZE];

    if (broadcast_of(key, id))
        table_set(context, id, context);
    return 0;
}

struct table *settings_memory_broadcasts(const struct settings_memory *memory)
{
    struct table *broadcasts = table_create();

    table_each(memory->entries, gather_broadcast, broadcasts);
    return broadcasts;
}

static int drop_if_over(const char *key, void *value, void *context)
{
    char id[ID_SIZE];

    if (!broadcast_of(key, id) || !table_get(context, id))
        return 0;
    free(value);
    return 1;
}

size_t settings_memory_forget(struct settings_memory *memory, const struct table *broadcasts)
{
    size_t before = table_count(memory->entries);

    table_each(memory->entries, drop_if_over, (void *)broadcasts);
    return before - table_count(memory->entries);
}

/* --- questions --- */

const char *settings_decoration(const struct settings_memory *memory, const char *user)
{
    const struct entry *entry = find(memory, SETTING_DECORATION, user, "");

    return entry ? entry->text : NULL;
}

bool settings_is_blocked(const struct settings_memory *memory, const char *broadcaster, const char *user)
{
    return find(memory, SETTING_BLOCK, broadcaster, user) != NULL;
}

bool settings_is_muted(const struct settings_memory *memory, const char *broadcast, const char *user, int64_t now_ms)
{
    const struct entry *entry = find(memory, SETTING_MUTE, broadcast, user);

    return entry && (entry->number == 0 || entry->number > now_ms);
}

bool settings_is_banned(const struct settings_memory *memory, const char *broadcast, const char *user)
{
    return find(memory, SETTING_BAN, broadcast, user) != NULL;
}

int64_t settings_slow_mode_ms(const struct settings_memory *memory, const char *broadcast)
{
    const struct entry *entry = find(memory, SETTING_SLOW_MODE, broadcast, "");

    return entry ? entry->number * 1000 : 0;
}
