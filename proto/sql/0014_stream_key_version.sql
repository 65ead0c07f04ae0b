-- Counts the keys that a broadcast has had: Redis takes one only when its number is higher than that of the key it has, so that in
-- whatever order renewals and restorations arrive there, it ends with the key of this row.
ALTER TABLE broadcasts ADD COLUMN stream_key_version BIGINT NOT NULL DEFAULT 1 AFTER stream_key_sealed;
