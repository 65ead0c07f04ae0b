-- Comments and the other events of a chat, moved from the Redis log by the batch in archive, each exactly once: the log's id is the key.
CREATE TABLE comments (
    broadcast_id VARCHAR(64)  NOT NULL,
    -- id of the entry in the log: milliseconds and a sequence number
    at_ms        BIGINT       NOT NULL,
    sequence     INT          NOT NULL,
    type         VARCHAR(16)  NOT NULL,
    room         INT          NULL,
    user_id      VARCHAR(64)  NULL,
    user_name    VARCHAR(100) NULL,
    -- of a comment; NULL for other types
    text         VARCHAR(500) NULL,
    -- the event as it was delivered
    event        TEXT         NOT NULL,
    deleted      TINYINT      NOT NULL DEFAULT 0,
    PRIMARY KEY (broadcast_id, at_ms, sequence)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
