#include "settings_sync.h"

#include "libcommon/db.h"
#include "libcommon/redis_link.h"

const struct config_row settings_sync_config_rows[] = {
    {"HANABI_SETTINGS_LISTEN", CONFIG_LISTEN, "127.0.0.1:8085", "where the edge reaches the settings API",
     .offset = offsetof(struct settings_sync_config, listen)},
    {"HANABI_REDIS_URL", CONFIG_URL, NULL, "state Redis", REDIS_LINK_URL,
     .offset = offsetof(struct settings_sync_config, redis_url)},
    {"HANABI_MYSQL_URL", CONFIG_URL, NULL, "mysql://user:password@host:port/database", DB_URL,
     .offset = offsetof(struct settings_sync_config, mysql_url)},
    {"HANABI_JWT_SECRET", CONFIG_STRING, NULL, "key of the callers' tokens, the same in all services", .secret = true,
     .offset = offsetof(struct settings_sync_config, jwt_secret)},
    {"HANABI_SETTINGS_RATE_BURST", CONFIG_INT, "30", "changes that one user may make at once", .min = 1, .max = 1000000,
     .offset = offsetof(struct settings_sync_config, rate_burst)},
    {"HANABI_SETTINGS_RATE_PER_10S", CONFIG_INT, "10", "changes of one user in ten seconds after that", .min = 1,
     .max = 1000000, .offset = offsetof(struct settings_sync_config, rate_per_10s)},
    CONFIG_END,
};
