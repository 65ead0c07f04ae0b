#!lua flags=allow-oom
-- A segment of a session can be fetched, and so can the playlist that names it: scheduled|suspended -> live.
-- Not for the last segment of a session that is over, nor for one whose media arrived before the suspension: those do not make the
-- broadcast live. (arrived_ms is the media Redis' clock; silence lasts 3 s, so a second and a half between the clocks is forgiven.)
-- ARGV: id, session, arrived_ms
-- Answer: {"live" (changed now) | "same" (nothing to change) | "unknown", version}
-- include: state
local id = ARGV[1]
local key = '$KEY_BROADCAST' .. id
local b = redis.call('HMGET', key, 'state', 'session', 'connected', 'suspended_at_ms', 'version', 'media_at_ms')
if not b[1] then
    return {'unknown', '0'}
end
if (b[1] ~= 'scheduled' and b[1] ~= 'suspended') or b[2] ~= ARGV[2] or b[3] ~= '1' then
    return {'same', b[5]}
end
if b[1] == 'suspended' and tonumber(ARGV[3]) <= tonumber(b[4] or 0) - 1500 then
    return {'same', b[5]}
end
local now = now_ms()
local version = transition(id, 'live', now, 'segment')
redis.call('ZADD', '$KEY_WATCH_SILENCE', integer(math.max(tonumber(b[6] or 0) + $BROADCAST_SILENCE_MS, now + 500)), id)
return {'live', integer(version)}
