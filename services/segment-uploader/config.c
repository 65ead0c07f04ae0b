/* The environment variables of segment-uploader. */
#include "services/segment-uploader/config.h"

#include "libcommon/db.h"
#include "libcommon/redis_link.h"

#include <stdio.h>

#define ROW(field) .offset = offsetof(struct uploader_config, field)

static const char *const store_schemes[] = {"file", "s3", NULL};

const struct config_row uploader_config_rows[] = {
    {"HANABI_REDIS_URL", CONFIG_URL, "redis://127.0.0.1:6379", "state Redis", REDIS_LINK_URL, ROW(redis_url)},
    {"HANABI_MEDIA_REDIS_URL", CONFIG_URL, "", "Redis with the segments' bytes; empty: the state Redis", REDIS_LINK_URL,
     ROW(media_redis_url)},
    {"HANABI_MYSQL_URL", CONFIG_URL, NULL, "database for the rows an archive needs", DB_URL, ROW(mysql_url)},
    {"HANABI_STORE_URL", CONFIG_URL, NULL,
     "file:///folder or s3://bucket[/prefix]?endpoint=http://host:port&region=name", .choices = store_schemes,
     ROW(store_url)},
    {"HANABI_S3_ACCESS_KEY", CONFIG_STRING, "", "of an s3:// store", .secret = true, ROW(s3_access_key)},
    {"HANABI_S3_SECRET_KEY", CONFIG_STRING, "", "of an s3:// store", .secret = true, ROW(s3_secret_key)},
    {"HANABI_STORE_SYNC", CONFIG_BOOL, "true", "file:// store: segments reach the disk before playlists name them",
     ROW(store_sync)},
    {"HANABI_STORE_OPERATIONS", CONFIG_INT, "64", "operations on the store at once", .min = 1, .max = 1024,
     ROW(store_operations)},
    {"HANABI_PURGE_URLS", CONFIG_STRING, "", "edges to purge, comma-separated: http://host:port/purge; empty: none",
     ROW(purge_urls)},
    {"HANABI_SPOOL_DIR", CONFIG_STRING, NULL, "folder for segments while the store is away", ROW(spool_dir)},
    {"HANABI_SPOOL_MAX_MB", CONFIG_INT, "8192", "most disk for it (MiB)", .min = 1, .max = 16777216, ROW(spool_max_mb)},
    {"HANABI_UPLOADER_MEMORY_MB", CONFIG_INT, "256", "most memory for segments on their way (MiB)", .min = 8,
     .max = 65536, ROW(memory_mb)},
    {"HANABI_UPLOADER_CAPACITY", CONFIG_INT, "500", "broadcasts of one process", .min = 1, .max = 100000,
     ROW(capacity)},
    {"HANABI_UPLOADER_FINAL_WAIT_MS", CONFIG_INT, "10000",
     "how long an ended broadcast waits for its last segments (ms)", .min = 0, .max = 120000, ROW(final_wait_ms)},
    CONFIG_END,
};

int uploader_config_check(const struct uploader_config *config, char *error, size_t error_size)
{
    if (config->spool_dir[0] == '/')
        return 0;
    snprintf(error, error_size, "HANABI_SPOOL_DIR: \"%s\" is not an absolute path", config->spool_dir);
    return -1;
}
