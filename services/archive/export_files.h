/* The files of a batch of exported events: lines are sorted by kind and by the hour in which they happened, and each
 * file is compressed when the batch is complete. The same lines in the same order give the same bytes. Pure; any
 * thread, one at a time. */
#pragma once

#include "libcommon/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT_KIND_SIZE 17
#define EXPORT_PATH_SIZE 160
/* A batch is planned up to these: memory, and how much is done again after a crash. */
#define EXPORT_MAX_FILES 200
#define EXPORT_MAX_BYTES (32u << 20)

struct export_file {
    char kind[EXPORT_KIND_SIZE];
    int64_t hour;       /* since 1970 */
    struct buffer text; /* behind export_files_compress(): the file's bytes */
};

struct export_files {
    struct export_file *files;
    size_t count, capacity;
    size_t last; /* the file of the line before */
    size_t lines, bytes;
};

/* A batch has as much as it should. What belongs to it by plan is added all the same. */
bool export_files_are_full(const struct export_files *files, size_t max_lines);
/* A line is `head` and `text` and a line feed; it happened at `at_ms`. A kind that is no name for a folder becomes
 * "other"; line feeds between the members of the JSON become spaces. */
void export_files_add(struct export_files *files, const char *kind, int64_t at_ms, const char *head, const char *text,
                      size_t len_bytes);
/* "export/<kind>/dt=YYYY-MM-DD/hour=HH/<source>-<number>.ndjson.gz", in UTC. */
void export_file_path(const struct export_file *file, const char *source, int64_t number, char out[EXPORT_PATH_SIZE]);
/* Turns the text of each file into gzip. 0, or -1: no memory. */
int export_files_compress(struct export_files *files) __attribute__((warn_unused_result));
void export_files_clear(struct export_files *files);
