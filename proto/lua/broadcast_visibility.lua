#!lua flags=allow-oom
-- Who may see the recording of a broadcast that is archived; no change of state. MySQL has it already, this is for as long as the hash lives.
-- ARGV: id, "public" | "private"
-- Answer: "ok" | "unknown" (the hash is gone)
local key = '$KEY_BROADCAST' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then
    return 'unknown'
end
redis.call('HSET', key, 'visibility', ARGV[2])
return 'ok'
