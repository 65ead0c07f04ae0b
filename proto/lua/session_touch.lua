#!lua flags=allow-oom
-- Media of a session has arrived (called about twice a second, only while media arrives).
-- ARGV: id, session, key_version (none: is not told of others)
-- Answer: "ok" | "replaced" (another session has the broadcast) | "ended" | "unknown" (Redis lost it: restore and open again)
--         {"ok", key_hash, key_version}: the stream key was renewed meanwhile; the session goes on
-- include: state
local id = ARGV[1]
local key = '$KEY_BROADCAST' .. id
local b = redis.call('HMGET', key, 'state', 'session', 'grace_ms', 'key_hash', 'key_version')
-- A hash without a session was restored by somebody else (live-api) after a loss: the session is to be opened again too.
if not b[1] or not b[2] then
    return 'unknown'
end
if b[1] == 'ended' or b[1] == 'archived' then
    return 'ended'
end
if b[2] ~= ARGV[2] then
    return 'replaced'
end
local now = now_ms()
redis.call('HSET', key, 'media_at_ms', integer(now), 'connected', '1')
if b[1] == 'live' then
    redis.call('ZADD', '$KEY_WATCH_SILENCE', integer(now + $BROADCAST_SILENCE_MS), id)
elseif b[1] == 'suspended' then
    redis.call('ZADD', '$KEY_WATCH_GRACE', integer(now + tonumber(b[3] or 60000)), id)
end
if ARGV[3] and tonumber(b[5] or 0) > tonumber(ARGV[3]) then
    return {'ok', b[4] or '', b[5]}
end
return 'ok'
