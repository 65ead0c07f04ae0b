-- The owner has a new stream key (its hash stands in MySQL): the old one is forgotten.
-- ARGV: id, SHA-256 of the new key in hex
-- Answer: 1, or 0 when Redis does not know the broadcast (ingest finds the key in MySQL then)
-- include: state
local key = '$KEY_BROADCAST' .. ARGV[1]
local old = redis.call('HGET', key, 'key_hash')
if not old then
    return 0
end
redis.call('DEL', '$KEY_STREAM_KEY' .. old)
redis.call('HSET', key, 'key_hash', ARGV[2])
redis.call('SET', '$KEY_STREAM_KEY' .. ARGV[2], ARGV[1], 'EX', 7 * DAY_S)
return 1
