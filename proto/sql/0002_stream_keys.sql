-- The stream key, sealed, so that its owner can be shown it again; looked up by its hash only.
ALTER TABLE broadcasts ADD COLUMN stream_key_sealed VARBINARY(200) NULL AFTER stream_key_hash;
