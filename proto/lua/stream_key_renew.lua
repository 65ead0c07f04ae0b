-- The owner has a new stream key (its hash stands in MySQL): the old one is forgotten.
-- ARGV: id, SHA-256 of the new key in hex
-- Answer: 1, or 0 when Redis does not know the broadcast (ingest finds the key in MySQL then), or -1 when it is over (MySQL may not know yet)
-- include: state
local key = '$KEY_BROADCAST' .. ARGV[1]
local b = redis.call('HMGET', key, 'state', 'key_hash')
if not b[1] then
    return 0
end
if b[1] == 'ended' or b[1] == 'archived' then
    return -1
end
redis.call('DEL', '$KEY_STREAM_KEY' .. (b[2] or ''))
redis.call('HSET', key, 'key_hash', ARGV[2])
redis.call('SET', '$KEY_STREAM_KEY' .. ARGV[2], ARGV[1], 'EX', 7 * DAY_S)
return 1
