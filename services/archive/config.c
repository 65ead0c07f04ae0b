#include "archive.h"

static const char *const redis_schemes[] = {"redis", "redis-sentinel", "redis-unix", NULL};
static const char *const mysql_schemes[] = {"mysql", NULL};

const struct config_row archive_config_rows[] = {
    {"HANABI_REDIS_URL", CONFIG_URL, NULL, "state Redis", .choices = redis_schemes,
     .offset = offsetof(struct archive_config, redis_url)},
    {"HANABI_CHAT_REDIS_URL", CONFIG_URL, "", "chat Redis (empty: the state Redis)", .choices = redis_schemes,
     .offset = offsetof(struct archive_config, chat_redis_url)},
    {"HANABI_MYSQL_URL", CONFIG_URL, NULL, "mysql://user:password@host:port/database", .choices = mysql_schemes,
     .secret = true, .offset = offsetof(struct archive_config, mysql_url)},
    {"HANABI_ARCHIVE_BATCH", CONFIG_INT, "1000", "comments moved in one transaction at most", .min = 1, .max = 10000,
     .offset = offsetof(struct archive_config, batch)},
    {"HANABI_ARCHIVE_TAIL_ENTRIES", CONFIG_INT, "1000", "entries that stay in Redis for viewers who reconnect",
     .min = 1, .max = 10000, .offset = offsetof(struct archive_config, tail_entries)},
    {"HANABI_ARCHIVE_TAIL_MS", CONFIG_INT, "10000", "and everything younger than this stays too (ms)", .min = 0,
     .max = 3600000, .offset = offsetof(struct archive_config, tail_ms)},
    CONFIG_END,
};
