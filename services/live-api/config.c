#include "live_api.h"

static const char *const redis_schemes[] = {"redis", "redis-sentinel", "redis-unix", NULL};
static const char *const mysql_schemes[] = {"mysql", NULL};
static const char *const rtmp_schemes[] = {"rtmp", "rtmps", NULL};

const struct config_row live_api_config_rows[] = {
    {"HANABI_API_LISTEN", CONFIG_LISTEN, "127.0.0.1:8083", "where the edge reaches the API",
     .offset = offsetof(struct live_api_config, listen)},
    {"HANABI_REDIS_URL", CONFIG_URL, NULL, "state Redis", .choices = redis_schemes,
     .offset = offsetof(struct live_api_config, redis_url)},
    {"HANABI_CHAT_REDIS_URL", CONFIG_URL, "", "chat Redis; empty: the state Redis", .choices = redis_schemes,
     .offset = offsetof(struct live_api_config, chat_redis_url)},
    {"HANABI_MYSQL_URL", CONFIG_URL, NULL, "mysql://user:password@host:port/database", .choices = mysql_schemes,
     .secret = true, .offset = offsetof(struct live_api_config, mysql_url)},
    {"HANABI_JWT_SECRET", CONFIG_STRING, NULL, "key of the callers' tokens, the same in all services", .secret = true,
     .offset = offsetof(struct live_api_config, jwt_secret)},
    {"HANABI_KEY_SEAL_SECRET", CONFIG_STRING, NULL, "seals stream keys, so that owners can be shown theirs again",
     .secret = true, .offset = offsetof(struct live_api_config, key_seal_secret)},
    {"HANABI_HLS_SECRET", CONFIG_STRING, NULL, "signs playback URLs; the edge checks them with the same",
     .secret = true, .offset = offsetof(struct live_api_config, hls_secret)},
    {"HANABI_RTMP_URL", CONFIG_URL, "rtmp://localhost:1935/live", "where broadcasters are told to push",
     .choices = rtmp_schemes, .offset = offsetof(struct live_api_config, rtmp_url)},
    {"HANABI_GRACE_MS", CONFIG_INT, "60000", "how long a suspended broadcast waits for its publisher (ms)", .min = 1000,
     .max = 1800000, .offset = offsetof(struct live_api_config, grace_ms)},
    {"HANABI_PLAYBACK_WINDOW_S", CONFIG_INT, "21600", "all viewers get the same playback URL within this time (s)",
     .min = 60, .max = 604800, .offset = offsetof(struct live_api_config, playback_window_s)},
    {"HANABI_TOKEN_S", CONFIG_INT, "604800", "how long a session's token is good (s)", .min = 60, .max = 31536000,
     .offset = offsetof(struct live_api_config, token_s)},
    {"HANABI_PLATFORM_PERCENT", CONFIG_INT, "30", "of a gift's price that is not the broadcaster's (%)", .min = 0,
     .max = 100, .offset = offsetof(struct live_api_config, platform_percent)},
    {"HANABI_PAYMENT_SECRET", CONFIG_STRING, "", "signs what a payment provider tells; empty: payments are off",
     .secret = true, .offset = offsetof(struct live_api_config, payment_secret)},
    {"HANABI_LOCAL_MODE", CONFIG_BOOL, "false", "POST /sessions gives a token to anyone: never in production",
     .offset = offsetof(struct live_api_config, local_mode)},
    CONFIG_END,
};
