#!lua flags=allow-oom
-- A transcoder child hands over a finished segment (its bytes lie on the media Redis already) together with the checkpoint at which
-- a successor goes on. Refused when the lease has gone to another.
-- ARGV: id, lease token, entry (JSON, see proto/segment_entry.h), checkpoint (JSON), final ("1": end marker, else "0")
-- Answer: "ok" | "fenced"
-- include: state
local id = ARGV[1]
if redis.call('HGET', '$KEY_LEASE_TRANSCODER' .. id, 'token') ~= ARGV[2] then
    return 'fenced'
end
local now = now_ms()
redis.call('XADD', '$KEY_SEGMENTS' .. id, 'MAXLEN', '~', '10000', '*', 'e', ARGV[3])
redis.call('EXPIRE', '$KEY_SEGMENTS' .. id, DAY_S)
redis.call('ZADD', '$KEY_UPLOADS', 'NX', integer(now), id)
if ARGV[5] == '1' then
    redis.call('ZREM', '$KEY_STREAMS', id)
    redis.call('DEL', '$KEY_CHECKPOINT' .. id)
else
    redis.call('SET', '$KEY_CHECKPOINT' .. id, ARGV[4], 'EX', DAY_S)
end
redis.call('PUBLISH', '$CHANNEL_SEGMENT_QUEUED', cjson.encode({type = 'segment.queued', id = id}))
return 'ok'
