#!lua flags=allow-oom
-- The consumer group from which uploaders read a broadcast's segments; one that is there stays as it is.
-- ARGV: id
-- Answer: "ok"
local made = redis.pcall('XGROUP', 'CREATE', '$KEY_SEGMENTS' .. ARGV[1], '$SEGMENTS_GROUP', '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then
    return made
end
return 'ok'
