-- Settings of all kinds in one table (proto/setting.h), and the counter that gives their versions.
CREATE TABLE settings (
    kind          VARCHAR(32)  NOT NULL,
    subject       VARCHAR(64)  NOT NULL,
    object        VARCHAR(64)  NOT NULL,
    -- NULL: deleted; the row stays, so that a reader who missed the message learns of it
    value         TEXT         NULL,
    version       BIGINT       NOT NULL,
    updated_by    VARCHAR(64)  NOT NULL,
    updated_at_ms BIGINT       NOT NULL,
    PRIMARY KEY (kind, subject, object),
    UNIQUE KEY settings_by_version (version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE settings_version (
    id      TINYINT NOT NULL PRIMARY KEY,
    version BIGINT  NOT NULL
) ENGINE = InnoDB;
INSERT INTO settings_version (id, version) VALUES (1, 0);
