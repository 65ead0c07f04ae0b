/* Configuration from environment variables only (12-factor): one table per service, a row per variable.
 *
 *     struct ingest_config { struct config_listen rtmp; int64_t max_bitrate_kbps; const char *redis_url; };
 *     static const struct config_row rows[] = {
 *         {"HANABI_RTMP_LISTEN", CONFIG_LISTEN, "0.0.0.0:1935", "where publishers connect",
 *          .offset = offsetof(struct ingest_config, rtmp)},
 *         {"HANABI_MAX_BITRATE_KBPS", CONFIG_INT, "12000", "a publisher above this is closed", .min = 100, .max =
 * 100000, .offset = offsetof(struct ingest_config, max_bitrate_kbps)}, CONFIG_END,
 *     };
 *
 * `--help` prints the table. A missing or malformed value, or an unknown variable that begins with HANABI_<SERVICE>_
 * (a typo), stops the start with one clear sentence. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_type {
    CONFIG_STRING, /* const char *            */
    CONFIG_INT,    /* int64_t, within min..max */
    CONFIG_BOOL,   /* bool: true|false|1|0     */
    CONFIG_CHOICE, /* const char *, one of `choices` */
    CONFIG_LISTEN, /* struct config_listen: "address:port", "[v6]:port"; port 0 picks a free one */
    CONFIG_URL,    /* const char *, scheme://…, scheme one of `choices` */
};

struct config_listen {
    char host[64];
    uint16_t port;
};

struct config_row {
    const char *name;
    enum config_type type;
    const char *default_value;  /* NULL: required. "" : optional, empty string (CONFIG_STRING, CONFIG_URL) */
    const char *help;           /* one line, with the unit */
    int64_t min, max;           /* CONFIG_INT */
    const char *const *choices; /* CONFIG_CHOICE: values, CONFIG_URL: schemes; NULL-terminated */
    bool secret;                /* never printed or logged */
    /* What a value of this type has to be beyond its type; NULL: nothing. Not called for "". 0, or -1 with a sentence
     * in `error` that does not repeat what is secret. */
    int (*check)(const char *value, char *error, size_t error_size);
    size_t offset; /* of the field in the service's config struct */
};
#define CONFIG_END                                                                                                     \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }

/* Fills `out` from the environment. Strings stay owned by this module until config_clear().
 * 0, or -1 with a sentence in `error` that names the variable, what is wrong and what is expected. */
int config_load(const struct config_row *rows, void *out, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* Frees the strings that config_load() put into `out` and sets them to NULL. */
void config_clear(const struct config_row *rows, void *out);

/* One row a line: name, type, default (or "required"), help. Secrets' defaults are not shown. */
void config_print_table(const struct config_row *rows);
