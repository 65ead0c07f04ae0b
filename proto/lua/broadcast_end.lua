#!lua flags=allow-oom
-- The owner (or an operator) ends a broadcast.
-- ARGV: id, reason, request id (may be absent)
-- Answer: {"ok" | "unknown" | "illegal" (it is over already), state, version}
-- include: state
local key = '$KEY_BROADCAST' .. ARGV[1]
local version = transition(ARGV[1], 'ended', now_ms(), ARGV[2], ARGV[3])
local state = redis.call('HGET', key, 'state')
if not state then
    return {'unknown', '', '0'}
end
return {version and 'ok' or 'illegal', state, redis.call('HGET', key, 'version')}
