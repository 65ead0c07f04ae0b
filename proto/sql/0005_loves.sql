-- Hearts: totals and rankings, written by love-counter as absolute values that only rise, so that a repetition changes nothing.
CREATE TABLE loves (
    broadcast_id  VARCHAR(64) NOT NULL PRIMARY KEY,
    total         BIGINT      NOT NULL,
    -- when the broadcast was over and everything stood here; NULL: more may come
    settled_at_ms BIGINT      NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE love_users (
    broadcast_id VARCHAR(64)  NOT NULL,
    user_id      VARCHAR(64)  NOT NULL,
    user_name    VARCHAR(100) NOT NULL,
    taps         BIGINT       NOT NULL,
    PRIMARY KEY (broadcast_id, user_id),
    INDEX love_users_ranking (broadcast_id, taps)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The total over time, about a row a second while it changes: what the replay of an archive shows.
CREATE TABLE love_ticks (
    broadcast_id VARCHAR(64) NOT NULL,
    at_ms        BIGINT      NOT NULL,
    total        BIGINT      NOT NULL,
    PRIMARY KEY (broadcast_id, at_ms)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
