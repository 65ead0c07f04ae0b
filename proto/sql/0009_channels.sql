-- Playout channels: archives one after the other from a moment on. A row never changes; written by archive.
CREATE TABLE channels (
    id            VARCHAR(64)  NOT NULL PRIMARY KEY,
    owner_id      VARCHAR(64)  NOT NULL,
    owner_name    VARCHAR(100) NOT NULL,
    title         VARCHAR(200) NOT NULL,
    -- ids of archives, a line each
    items         TEXT         NOT NULL,
    start_at_ms   BIGINT       NOT NULL,
    loops         TINYINT      NOT NULL,
    -- of one round
    duration_ms   BIGINT       NOT NULL,
    created_at_ms BIGINT       NOT NULL,
    INDEX channels_newest (created_at_ms, id),
    INDEX channels_by_owner (owner_id, created_at_ms, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
