-- Users, broadcasts and their segments. Times are milliseconds since 1970 (UTC), so that no session time zone can shift them.
CREATE TABLE users (
    id            VARCHAR(64)  NOT NULL PRIMARY KEY,
    name          VARCHAR(100) NOT NULL,
    role          ENUM('viewer', 'operator') NOT NULL DEFAULT 'viewer',
    created_at_ms BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE broadcasts (
    id              VARCHAR(64)  NOT NULL PRIMARY KEY,
    owner_id        VARCHAR(64)  NOT NULL,
    title           VARCHAR(200) NOT NULL,
    -- Follows Redis; written by live-api only when `version` is higher than the row's.
    state           ENUM('scheduled', 'live', 'suspended', 'ended', 'archived') NOT NULL DEFAULT 'scheduled',
    version         BIGINT       NOT NULL,
    -- SHA-256 of the stream key in hex; NULL once the broadcast is over.
    stream_key_hash CHAR(64)     NULL UNIQUE,
    grace_ms        INT          NOT NULL DEFAULT 60000,
    created_at_ms   BIGINT       NOT NULL,
    live_at_ms      BIGINT       NULL,
    ended_at_ms     BIGINT       NULL,
    -- broadcast.live has been announced (once per broadcast)
    announced_at_ms BIGINT       NULL,
    INDEX broadcasts_by_state (state, created_at_ms, id),
    INDEX broadcasts_by_owner (owner_id, created_at_ms),
    CONSTRAINT broadcasts_owner FOREIGN KEY (owner_id) REFERENCES users (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- No foreign keys below: segment-uploader writes what it has even when the broadcast's row is late.
CREATE TABLE renditions (
    broadcast_id      VARCHAR(64) NOT NULL,
    name              VARCHAR(16) NOT NULL,
    -- 0 is the best
    position          INT         NOT NULL,
    width             INT         NOT NULL,
    height            INT         NOT NULL,
    frame_rate        DOUBLE      NOT NULL,
    codecs            VARCHAR(64) NOT NULL,
    -- bits per second, measured: the largest segment, and all of them
    peak_bandwidth    BIGINT      NOT NULL,
    average_bandwidth BIGINT      NOT NULL,
    PRIMARY KEY (broadcast_id, name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- One row per segment, whatever the number of renditions: they are cut at the same media time. The object of a rendition is
-- live/<broadcast>/<rendition>/<file>.
CREATE TABLE segments (
    broadcast_id         VARCHAR(64) NOT NULL,
    -- EXT-X-MEDIA-SEQUENCE of the live playlist; 0 is the first
    sequence             BIGINT      NOT NULL,
    file                 VARCHAR(80) NOT NULL,
    discontinuity        TINYINT     NOT NULL,
    program_date_time_ms BIGINT      NOT NULL,
    -- on the recording's continuous media timeline
    media_time_us        BIGINT      NOT NULL,
    duration_us          BIGINT      NOT NULL,
    session              BIGINT      NOT NULL,
    -- JSON object: rendition -> bytes
    bytes                TEXT        NOT NULL,
    thumbnail            VARCHAR(80) NULL,
    PRIMARY KEY (broadcast_id, sequence)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
