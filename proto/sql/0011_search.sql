-- What search finds broadcasts by: title and broadcaster's name, written in the transaction that changes them. MariaDB's own full text knows no
-- Japanese words, so `grams` holds each pair of neighbouring characters as one token of ASCII (see services/live-api/search.h).
CREATE TABLE search_documents (
    broadcast_id VARCHAR(64) NOT NULL PRIMARY KEY,
    -- normalised, "<title>\n<name>"
    text  VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    grams TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    FULLTEXT KEY search_documents_grams (grams)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
