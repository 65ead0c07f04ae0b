-- What is exported for analysis (archive; see services/archive/README.md): events leave in numbered batches, and one row per source says which was
-- the last and what it covers. A batch is planned here before its files are written, so that whoever repeats it writes the same ones.
CREATE TABLE exports (
    source      VARCHAR(16) NOT NULL PRIMARY KEY,
    number      BIGINT      NOT NULL,
    -- a line each: "<broadcast> <from> <to>", ids as in a log, `from` not included; one line "* <from> <to>" for a stream of Redis
    ranges      MEDIUMTEXT  NOT NULL,
    -- 0: planned, its files may or may not stand
    is_done     TINYINT     NOT NULL DEFAULT 1,
    done_at_ms  BIGINT      NOT NULL DEFAULT 0,
    -- of all batches that are done
    total_lines BIGINT      NOT NULL DEFAULT 0,
    total_files BIGINT      NOT NULL DEFAULT 0
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT INTO exports (source, number, ranges) VALUES ('comments', 0, ''), ('loves', 0, ''), ('states', 0, ''), ('audience', 0, '');

-- Of sources in MySQL: up to where a broadcast's rows are complete (`ready`, written in the transaction that writes the rows) and up to where they
-- are exported (`done`).
CREATE TABLE export_cursors (
    source         VARCHAR(16) NOT NULL,
    broadcast_id   VARCHAR(64) NOT NULL,
    ready_ms       BIGINT      NOT NULL,
    ready_sequence BIGINT      NOT NULL DEFAULT 0,
    done_ms        BIGINT      NOT NULL DEFAULT 0,
    done_sequence  BIGINT      NOT NULL DEFAULT 0,
    is_pending     TINYINT AS (ready_ms > done_ms OR (ready_ms = done_ms AND ready_sequence > done_sequence)) PERSISTENT,
    PRIMARY KEY (source, broadcast_id),
    INDEX export_cursors_pending (source, is_pending, done_ms)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What was there before is exported too.
INSERT INTO export_cursors (source, broadcast_id, ready_ms, ready_sequence)
    SELECT 'comments', c.broadcast_id, c.at_ms, MAX(c.sequence) FROM comments c
    JOIN (SELECT broadcast_id, MAX(at_ms) AS at_ms FROM comments GROUP BY broadcast_id) newest
        ON newest.broadcast_id = c.broadcast_id AND newest.at_ms = c.at_ms
    GROUP BY c.broadcast_id, c.at_ms;
INSERT INTO export_cursors (source, broadcast_id, ready_ms) SELECT 'loves', broadcast_id, MAX(at_ms) FROM love_ticks GROUP BY broadcast_id;

-- How many watched a broadcast, as of its end.
CREATE TABLE audiences (
    broadcast_id   VARCHAR(64) NOT NULL PRIMARY KEY,
    -- the most that were counted at one moment
    peak           BIGINT      NOT NULL,
    -- different viewers, as far as a HyperLogLog tells them apart
    unique_viewers BIGINT      NOT NULL,
    counted_at_ms  BIGINT      NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
