-- Followers, the notices that a broadcast has started, and webhooks.
-- A follower needs no row in `users`, so its id is compared byte by byte; who is followed has one.
CREATE TABLE follows (
    follower_id    VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    user_id        VARCHAR(64) NOT NULL,
    followed_at_ms BIGINT      NOT NULL,
    PRIMARY KEY (follower_id, user_id),
    INDEX follows_by_time (follower_id, followed_at_ms, user_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- How many follow a user; changed in the transaction that changes `follows`, so that nobody counts a million rows.
CREATE TABLE follow_counts (
    user_id   VARCHAR(64) NOT NULL PRIMARY KEY,
    followers BIGINT      NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- One row per broadcast that was announced, whatever the number of followers: whose notice it is, `follows` says when somebody reads. `sequence`
-- rises in the order of the commits, since it is drawn under the lock of notice_sequence: who has read up to one misses none before it.
CREATE TABLE start_notices (
    sequence     BIGINT      NOT NULL PRIMARY KEY,
    broadcast_id VARCHAR(64) NOT NULL UNIQUE,
    owner_id     VARCHAR(64) NOT NULL,
    at_ms        BIGINT      NOT NULL,
    INDEX start_notices_by_owner (owner_id, sequence)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE notice_sequence (
    id       TINYINT NOT NULL PRIMARY KEY,
    sequence BIGINT  NOT NULL
) ENGINE = InnoDB;
INSERT INTO notice_sequence (id, sequence) VALUES (1, 0);

-- Up to where somebody has read.
CREATE TABLE notice_reads (
    user_id  VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
    sequence BIGINT      NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Where other applications want to hear of broadcasts.
CREATE TABLE webhooks (
    id            VARCHAR(64)    NOT NULL PRIMARY KEY,
    owner_id      VARCHAR(64)    NOT NULL,
    -- 1: of all broadcasts (an operator's), 0: of the owner's
    all_owners    TINYINT        NOT NULL,
    url           VARCHAR(500)   NOT NULL,
    secret_sealed VARBINARY(200) NOT NULL,
    events        SET('broadcast.live', 'broadcast.ended', 'broadcast.archived') NOT NULL,
    created_at_ms BIGINT         NOT NULL,
    -- since when every attempt has failed; NULL: the last one did not
    failing_since_ms BIGINT      NULL,
    -- failed for too long: nothing is sent or queued any more
    disabled_at_ms   BIGINT      NULL,
    -- events that found the queue full
    dropped       BIGINT         NOT NULL DEFAULT 0,
    -- somebody is sending to it until then: one request at a time per webhook
    busy_until_ms BIGINT         NOT NULL DEFAULT 0,
    INDEX webhooks_by_owner (owner_id, created_at_ms),
    INDEX webhooks_of_all (all_owners)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- Written in the transaction that tells MySQL of the event.
CREATE TABLE webhook_deliveries (
    id            BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    webhook_id    VARCHAR(64)  NOT NULL,
    event         VARCHAR(32)  NOT NULL,
    broadcast_id  VARCHAR(64)  NOT NULL,
    body          TEXT         NOT NULL,
    state         ENUM('pending', 'delivered', 'failed') NOT NULL DEFAULT 'pending',
    attempts      INT          NOT NULL DEFAULT 0,
    next_at_ms    BIGINT       NOT NULL,
    created_at_ms BIGINT       NOT NULL,
    done_at_ms    BIGINT       NULL,
    -- of the last attempt: the HTTP status (0: no answer) and why it was not good
    status        INT          NULL,
    error         VARCHAR(200) NULL,
    UNIQUE KEY webhook_deliveries_once (webhook_id, broadcast_id, event),
    INDEX webhook_deliveries_due (state, next_at_ms),
    INDEX webhook_deliveries_of (webhook_id, state),
    CONSTRAINT webhook_deliveries_webhook FOREIGN KEY (webhook_id) REFERENCES webhooks (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
