/* A hash table from strings to pointers, for the rooms, broadcasts and settings of one process. Not thread-safe. */
#pragma once

#include <stddef.h>

struct table;

struct table *table_create(void);
/* `free_value` (may be NULL) is called for every value left. */
void table_destroy(struct table *table, void (*free_value)(void *value));
/* NULL when absent. */
void *table_get(const struct table *table, const char *key);
/* Copies the key; replaces the value. */
void table_set(struct table *table, const char *key, void *value);
/* The value that was there, or NULL. */
void *table_take(struct table *table, const char *key);
size_t table_count(const struct table *table);
/* `visit` may remove the entry it is called for, by returning nonzero (it has then freed the value), and nothing else.
 */
void table_each(struct table *table, int (*visit)(const char *key, void *value, void *context), void *context);
