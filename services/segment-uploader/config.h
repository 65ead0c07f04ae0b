/* What segment-uploader reads from the environment; the table is in config.c. */
#pragma once

#include "libcommon/config.h"

struct uploader_config {
    const char *redis_url, *media_redis_url, *mysql_url;
    const char *store_url, *s3_access_key, *s3_secret_key;
    bool store_sync;
    int64_t store_operations;
    const char *purge_urls;
    const char *spool_dir;
    int64_t spool_max_mb, memory_mb;
    int64_t capacity;
    int64_t final_wait_ms;
};

extern const struct config_row uploader_config_rows[];
/* What a single row cannot say. 0, or -1 with a sentence in `error`. */
int uploader_config_check(const struct uploader_config *config, char *error, size_t error_size);
