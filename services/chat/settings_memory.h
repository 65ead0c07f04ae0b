/* The settings of everybody, in the memory of this process: a comment is checked and decorated from here alone. Pure:
 * no I/O, the clock is handed in. See proto/setting.h for kinds and versions.
 *
 * Versions: `settings_memory_version` is the last one up to which nothing is missing. A message with a later one than
 * the next is taken at once all the same (an entry knows its own version, so an older value never replaces a newer
 * one), but leaves a gap, to be closed by late messages or by reading from MySQL. */
#pragma once

#include "proto/setting.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct settings_memory;
struct table;

struct settings_memory *settings_memory_create(size_t max_entries);
void settings_memory_destroy(struct settings_memory *memory);

enum settings_applied {
    SETTINGS_OLD,   /* known already: nothing has changed */
    SETTINGS_TAKEN, /* new */
    SETTINGS_FULL,  /* new, but there is no room for one more entry: the metric and the log say so */
};
/* A message. Events of an unknown or a lazy kind count for the version and are not kept. */
enum settings_applied settings_memory_apply(struct settings_memory *memory, const struct setting_event *event);
/* A row read from MySQL: the same, and the rows come in the order of their versions, so that everything up to this one
 * is known afterwards. */
enum settings_applied settings_memory_read(struct settings_memory *memory, const struct setting_event *event);

int64_t settings_memory_version(const struct settings_memory *memory);
/* The highest version ever heard of; above settings_memory_version: something is missing. */
int64_t settings_memory_heard(const struct settings_memory *memory);
size_t settings_memory_count(const struct settings_memory *memory);
/* The broadcasts that something was set in (their ids are the keys); the caller destroys the table. */
struct table *settings_memory_broadcasts(const struct settings_memory *memory);
/* Drops what was set in these, whose ids are the keys: they are over. Returns how many entries that were. */
size_t settings_memory_forget(struct settings_memory *memory, const struct table *broadcasts);
/* Something became known otherwise (a reader saw the counter): a gap may appear. */
void settings_memory_hear(struct settings_memory *memory, int64_t version);

/* The decoration's JSON text, valid until the next apply; NULL: none. */
const char *settings_decoration(const struct settings_memory *memory, const char *user);
bool settings_is_blocked(const struct settings_memory *memory, const char *broadcaster, const char *user);
bool settings_is_muted(const struct settings_memory *memory, const char *broadcast, const char *user, int64_t now_ms);
bool settings_is_banned(const struct settings_memory *memory, const char *broadcast, const char *user);
/* 0: no slow mode. */
int64_t settings_slow_mode_ms(const struct settings_memory *memory, const char *broadcast);
