-- What stands of a broadcast that is over: an index only, the recording and the replay of its chat lie in the store. Written by archive.
CREATE TABLE archives (
    broadcast_id   VARCHAR(64) NOT NULL PRIMARY KEY,
    -- making: the files do not all stand yet; deleting: somebody has asked for it, objects and rows are going
    state          ENUM('making', 'archived', 'deleting') NOT NULL DEFAULT 'making',
    visibility     ENUM('public', 'private') NOT NULL DEFAULT 'public',
    -- What was said before this moment is in the replay: fixed when the making begins, so that each attempt makes the same files.
    until_ms       BIGINT      NOT NULL,
    duration_ms    BIGINT      NOT NULL DEFAULT 0,
    segments       BIGINT      NOT NULL DEFAULT 0,
    -- replay files, and the events in them
    files          INT         NOT NULL DEFAULT 0,
    events         BIGINT      NOT NULL DEFAULT 0,
    has_storyboard TINYINT     NOT NULL DEFAULT 0,
    archived_at_ms BIGINT      NULL,
    -- the rows of its comments have been deleted, being old; the files stand
    pruned         TINYINT     NOT NULL DEFAULT 0,
    INDEX archives_newest (state, archived_at_ms, broadcast_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
