#!lua flags=allow-oom
-- The connection of a session is gone: live -> suspended. Of a session that has been replaced nothing changes.
-- ARGV: id, session, reason
-- Answer: "ok" | "replaced" | "unknown"
-- include: state
local id = ARGV[1]
local key = '$KEY_BROADCAST' .. id
local b = redis.call('HMGET', key, 'state', 'session')
if not b[1] then
    return 'unknown'
end
if b[2] ~= ARGV[2] then
    return 'replaced'
end
redis.call('HSET', key, 'connected', '0')
transition(id, 'suspended', now_ms(), ARGV[3])
redis.call('PUBLISH', '$CHANNEL_STREAM', cjson.encode({type = 'stream.closed', id = id, session = tonumber(ARGV[2])}))
return 'ok'
