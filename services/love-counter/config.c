#include "love_counter.h"

#include "libcommon/db.h"
#include "libcommon/redis_link.h"

#define ROW(field) .offset = offsetof(struct love_counter_config, field)

const struct config_row love_counter_config_rows[] = {
    {"HANABI_LOVE_LISTEN", CONFIG_LISTEN, "127.0.0.1:8087", "where the edge reaches the hearts API", ROW(listen)},
    {"HANABI_REDIS_URL", CONFIG_URL, NULL, "state Redis", REDIS_LINK_URL, ROW(redis_url)},
    {"HANABI_CHAT_REDIS_URL", CONFIG_URL, "", "chat Redis, or several (spaces between); empty: the state Redis",
     REDIS_SHARDS_URLS, ROW(chat_redis_url)},
    {"HANABI_MYSQL_URL", CONFIG_URL, NULL, "mysql://user:password@host:port/database", DB_URL, ROW(mysql_url)},
    {"HANABI_JWT_SECRET", CONFIG_STRING, NULL, "key of the callers' tokens, the same in all services", .secret = true,
     ROW(jwt_secret)},
    {"HANABI_LOVE_RATE_PER_S", CONFIG_INT, "30", "taps a second that count of one user in one broadcast", .min = 1,
     .max = 1000000, ROW(rate_per_s)},
    {"HANABI_LOVE_BURST", CONFIG_INT, "600", "and at once, after a pause: what the cap fills up to", .min = 1,
     .max = 100000000, ROW(burst)},
    {"HANABI_LOVE_BATCHES_PER_S", CONFIG_INT, "1", "batches a second that are taken of one user in one broadcast",
     .min = 1, .max = 1000000, ROW(batches_per_s)},
    {"HANABI_LOVE_BATCHES_BURST", CONFIG_INT, "600", "and at once; each is remembered for up to ten minutes", .min = 1,
     .max = 100000000, ROW(batches_burst)},
    {"HANABI_LOVE_GROUP", CONFIG_INT, "200", "batches that go to Redis in one call at most", .min = 1, .max = 1000,
     ROW(group_max)},
    {"HANABI_LOVE_PENDING", CONFIG_INT, "20000", "batches waiting for Redis; then: unavailable", .min = 1,
     .max = 1000000, ROW(group_pending_max)},
    {"HANABI_LOVE_FLUSH_USERS", CONFIG_INT, "500", "users written to MySQL in one transaction", .min = 1, .max = 2000,
     ROW(flush_users)},
    CONFIG_END,
};
