-- Whose hearts they were, as they came: for each portion that love-counter writes, how many new ones of each user, in the transaction that raises
-- love_users.taps. The sum of a user's rows is that user's taps. Rows are here for the export only: archive deletes what it has exported.
CREATE TABLE love_taps (
    broadcast_id VARCHAR(64) NOT NULL,
    -- when the portion was taken, about a second after the tap; later in each portion of a broadcast
    at_ms        BIGINT      NOT NULL,
    -- within the portion, from 1
    sequence     INT         NOT NULL,
    user_id      VARCHAR(64) NOT NULL,
    taps         BIGINT      NOT NULL,
    PRIMARY KEY (broadcast_id, at_ms, sequence)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT INTO exports (source, number, ranges) VALUES ('taps', 0, '');
