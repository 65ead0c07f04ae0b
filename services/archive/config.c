#include "archive.h"

#include "libcommon/db.h"
#include "libcommon/redis_link.h"

#define FIELD(name) .offset = offsetof(struct archive_config, name)

static const char *const die_after[] = {"none", "plan", "recording", "replay", "index", "row", "say", NULL};
static const char *const store_schemes[] = {"file", "s3", NULL};

const struct config_row archive_config_rows[] = {
    {"HANABI_REDIS_URL", CONFIG_URL, NULL, "state Redis", REDIS_LINK_URL, FIELD(redis_url)},
    {"HANABI_CHAT_REDIS_URL", CONFIG_URL, "", "chat Redis, or several (spaces between); empty: the state Redis",
     REDIS_SHARDS_URLS, FIELD(chat_redis_url)},
    {"HANABI_MYSQL_URL", CONFIG_URL, NULL, "mysql://user:password@host:port/database", DB_URL, FIELD(mysql_url)},
    {"HANABI_ARCHIVE_BATCH", CONFIG_INT, "1000", "comments moved in one transaction at most", .min = 1, .max = 10000,
     FIELD(batch)},
    {"HANABI_ARCHIVE_TAIL_ENTRIES", CONFIG_INT, "1000", "entries that stay in Redis for viewers who reconnect",
     .min = 1, .max = 10000, FIELD(tail_entries)},
    {"HANABI_ARCHIVE_TAIL_MS", CONFIG_INT, "10000", "and everything younger than this stays too (ms)", .min = 0,
     .max = 3600000, FIELD(tail_ms)},
    {"HANABI_ARCHIVE_LISTEN", CONFIG_LISTEN, "127.0.0.1:8086", "where the edge reaches archives and playout channels",
     FIELD(listen)},
    {"HANABI_JWT_SECRET", CONFIG_STRING, NULL, "key of the callers' tokens, the same in all services", .secret = true,
     FIELD(jwt_secret)},
    {"HANABI_HLS_SECRET", CONFIG_STRING, NULL, "signs playback URLs; the edge checks them with the same",
     .secret = true, FIELD(hls_secret)},
    {"HANABI_PLAYBACK_WINDOW_S", CONFIG_INT, "21600", "all viewers get the same playback URL within this time (s)",
     .min = 60, .max = 604800, FIELD(playback_window_s)},
    {"HANABI_SEAL_SECRET", CONFIG_STRING, NULL, "seals the URLs of private archives and of channels", .secret = true,
     FIELD(seal_secret)},
    {"HANABI_STORE_URL", CONFIG_URL, NULL,
     "file:///folder or s3://bucket[/prefix]?endpoint=http://host:port&region=name", .choices = store_schemes,
     FIELD(store_url)},
    {"HANABI_S3_ACCESS_KEY", CONFIG_STRING, "", "of an s3:// store", .secret = true, FIELD(s3_access_key)},
    {"HANABI_S3_SECRET_KEY", CONFIG_STRING, "", "of an s3:// store", .secret = true, FIELD(s3_secret_key)},
    {"HANABI_STORE_SYNC", CONFIG_BOOL, "true", "file:// store: files reach the disk before they are said to stand",
     FIELD(store_sync)},
    {"HANABI_STORE_OPERATIONS", CONFIG_INT, "64", "operations on the store at once", .min = 1, .max = 1024,
     FIELD(store_operations)},
    {"HANABI_ARCHIVE_SHARE_WINDOW_S", CONFIG_INT, "604800",
     "the link to a private archive is good for one to two times this (s)", .min = 60, .max = 31536000,
     FIELD(share_window_s)},
    {"HANABI_ARCHIVE_PLAYOUT_CHANNELS", CONFIG_INT, "1000", "playout channels kept in memory", .min = 1, .max = 100000,
     FIELD(playout_channels)},
    {"HANABI_ARCHIVE_PLAYOUT_MEMORY_MB", CONFIG_INT, "256", "segment lists of their recordings kept in memory (MiB)",
     .min = 1, .max = 65536, FIELD(playout_memory_mb)},
    {"HANABI_ARCHIVE_SETTLE_MS", CONFIG_INT, "3000",
     "what is said this long after the end is still part of the archive (ms)", .min = 0, .max = 600000,
     FIELD(settle_ms)},
    {"HANABI_ARCHIVE_MAX_AGE_DAYS", CONFIG_INT, "0", "older archives are deleted (days); 0: they are kept", .min = 0,
     .max = 36500, FIELD(max_age_days)},
    {"HANABI_ARCHIVE_PRUNE_DAYS", CONFIG_INT, "0",
     "comments of archives that stand for this long leave MySQL (days); 0: they stay", .min = 0, .max = 36500,
     FIELD(prune_days)},
    {"HANABI_ARCHIVE_DIE_AFTER", CONFIG_CHOICE, "none", "for tests: the process kills itself after this step",
     .choices = die_after, FIELD(die_after)},
    CONFIG_END,
};
