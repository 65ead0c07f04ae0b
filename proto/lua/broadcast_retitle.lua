#!lua flags=allow-oom
-- The broadcast has another title; no change of state.
-- ARGV: id, title
-- Answer: "ok" | "unknown"
local key = '$KEY_BROADCAST' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then
    return 'unknown'
end
redis.call('HSET', key, 'title', ARGV[2])
return 'ok'
