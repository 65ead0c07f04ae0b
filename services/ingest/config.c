/* The environment variables of ingest. */
#include "services/ingest/config.h"

#include "libcommon/db.h"
#include "libcommon/redis_link.h"
#include "proto/h264_sps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW(field) .offset = offsetof(struct ingest_config, field)

_Static_assert(H264_MAX_PICTURE_SAMPLES == 9437184, "the default of HANABI_INGEST_MAX_PICTURE_SAMPLES");

const struct config_row ingest_config_rows[] = {
    {"HANABI_REDIS_URL", CONFIG_URL, "redis://127.0.0.1:6379", "state Redis", REDIS_LINK_URL, ROW(redis_url)},
    {"HANABI_MEDIA_REDIS_URL", CONFIG_URL, "", "Redis for the media rings; empty: the state Redis", REDIS_LINK_URL,
     ROW(media_redis_url)},
    {"HANABI_MYSQL_URL", CONFIG_URL, NULL, "database, asked for stream keys that Redis does not know", DB_URL,
     ROW(mysql_url)},
    {"HANABI_RTMP_LISTEN", CONFIG_LISTEN, "0.0.0.0:1935", "where publishers connect; shared by several processes",
     ROW(rtmp)},
    {"HANABI_RTMPS_LISTEN", CONFIG_STRING, "", "the same with TLS, address:port; empty: off", ROW(rtmps)},
    {"HANABI_TLS_CERT", CONFIG_STRING, "", "certificate chain for RTMPS (PEM file), read again when it changes",
     ROW(tls_cert)},
    {"HANABI_TLS_KEY", CONFIG_STRING, "", "its private key (PEM file)", ROW(tls_key)},
    {"HANABI_RTMP_APP", CONFIG_STRING, "live", "the application of the URL: rtmp://host/APP/KEY", ROW(app)},
    {"HANABI_INGEST_HANDSHAKE_MS", CONFIG_INT, "5000", "from the TCP connection to connect, and on to publish (ms)",
     .min = 100, .max = 60000, ROW(handshake_ms)},
    {"HANABI_INGEST_IDLE_MS", CONFIG_INT, "30000", "a line without a byte is closed (ms)", .min = 1000, .max = 600000,
     ROW(idle_ms)},
    {"HANABI_INGEST_KEYFRAME_MS", CONFIG_INT, "30000", "video without a key frame is closed (ms)", .min = 1000,
     .max = 600000, ROW(keyframe_ms)},
    {"HANABI_INGEST_MAX_MESSAGE_KB", CONFIG_INT, "8192", "largest message, that is: frame (KiB)", .min = 64,
     .max = 16383, ROW(max_message_kb)},
    {"HANABI_INGEST_MAX_CHUNK_BYTES", CONFIG_INT, "16777215", "largest chunk size a publisher may set (bytes)",
     .min = 128, .max = 2147483647, ROW(max_chunk_bytes)},
    {"HANABI_INGEST_MAX_BITRATE_KBPS", CONFIG_INT, "20000", "a publisher above this over 5 s is closed (kbit/s)",
     .min = 100, .max = 1000000, ROW(max_bitrate_kbps)},
    {"HANABI_INGEST_MAX_PICTURE_SAMPLES", CONFIG_INT, "9437184",
     "largest picture, width x height in whole macroblocks of 16x16; the default, 4096x2304, is all that transcoders "
     "take",
     .min = 256, .max = H264_MAX_PICTURE_SAMPLES, ROW(max_picture_samples)},
    {"HANABI_INGEST_MAX_CONNECTIONS", CONFIG_INT, "4000", "connections of one process", .min = 1, .max = 100000,
     ROW(max_connections)},
    {"HANABI_INGEST_MAX_CONNECTIONS_PER_ADDRESS", CONFIG_INT, "200", "and of one address among them", .min = 1,
     .max = 100000, ROW(max_connections_per_address)},
    {"HANABI_INGEST_BUFFER_KB_PER_PUBLISHER", CONFIG_INT, "4096",
     "media of one publisher that the media Redis has not taken yet; more is dropped (KiB)", .min = 256, .max = 1048576,
     ROW(buffer_kb_per_publisher)},
    {"HANABI_INGEST_BUFFER_MB", CONFIG_INT, "256", "and of all publishers of one process (MiB)", .min = 1, .max = 65536,
     ROW(buffer_mb)},
    {"HANABI_INGEST_DRAIN_WAIT_S", CONFIG_INT, "0",
     "after SIGTERM publishers go on for this long before they are sent elsewhere (s); HANABI_DRAIN_MS must be more",
     .min = 0, .max = 86000, ROW(drain_wait_s)},
    CONFIG_END,
};

/* "address:port" or "[v6]:port". */
static int parse_listen(const char *text, struct config_listen *listen)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    char *end;

    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof(listen->host))
        return -1;
    long port = strtol(colon + 1, &end, 10);
    if (end == colon + 1 || *end != '\0' || port < 0 || port > 65535)
        return -1;
    memcpy(listen->host, text, len);
    listen->host[len] = '\0';
    listen->port = (uint16_t)port;
    return 0;
}

int ingest_config_check(const struct ingest_config *config, struct config_listen *rtmps_listen, char *error,
                        size_t error_size)
{
    if (config->app[0] == '\0' || strpbrk(config->app, "/?")) {
        snprintf(error, error_size, "HANABI_RTMP_APP: \"%s\" is not one path segment", config->app);
        return -1;
    }
    if (config->rtmps[0] == '\0')
        return 0;
    if (parse_listen(config->rtmps, rtmps_listen) != 0) {
        snprintf(error, error_size, "HANABI_RTMPS_LISTEN: \"%s\" is not address:port", config->rtmps);
        return -1;
    }
    if (config->tls_cert[0] == '\0' || config->tls_key[0] == '\0') {
        snprintf(error, error_size, "HANABI_RTMPS_LISTEN needs HANABI_TLS_CERT and HANABI_TLS_KEY");
        return -1;
    }
    return 0;
}
