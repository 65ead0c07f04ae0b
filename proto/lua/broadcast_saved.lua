#!lua flags=allow-oom
-- The state of a broadcast, as of `version`, stands in MySQL.
-- ARGV: id, version
-- Answer: 1 when nothing newer is waiting, 0 when the state has changed again meanwhile (it stays in the set)
local version = redis.call('HGET', '$KEY_BROADCAST' .. ARGV[1], 'version')
if version and version ~= ARGV[2] then
    return 0
end
redis.call('SREM', '$KEY_BROADCASTS_UNSAVED', ARGV[1])
if not version then
    redis.call('ZREM', '$KEY_BROADCASTS', ARGV[1])
end
return 1
