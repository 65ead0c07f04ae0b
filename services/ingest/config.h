/* The configuration of ingest; the rows with their help are in config.c. */
#pragma once

#include "libcommon/config.h"

struct ingest_config {
    const char *redis_url, *media_redis_url, *mysql_url;
    struct config_listen rtmp;
    const char *rtmps; /* "" is off */
    const char *tls_cert, *tls_key;
    const char *app;
    int64_t handshake_ms, idle_ms, keyframe_ms;
    int64_t max_message_kb, max_chunk_bytes;
    int64_t max_bitrate_kbps, max_picture_samples;
    int64_t max_connections, max_connections_per_address;
    int64_t buffer_kb_per_publisher, buffer_mb;
    int64_t drain_wait_s;
};

extern const struct config_row ingest_config_rows[];
/* What a row alone cannot tell. Fills `rtmps_listen` when RTMPS is on. 0, or -1 with a sentence. */
int ingest_config_check(const struct ingest_config *config, struct config_listen *rtmps_listen, char *error,
                        size_t error_size);
