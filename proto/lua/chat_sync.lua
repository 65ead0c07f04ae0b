#!lua flags=allow-oom
-- A process asks on a room's channel whether it hears it. See "sync" in proto/chat.h.
-- ARGV: broadcast, room, instance
-- Answer: last id in the log
local last = redis.call('XREVRANGE', '$KEY_CHAT_LOG' .. ARGV[1], '+', '-', 'COUNT', 1)
local id = last[1] and last[1][1] or '0-0'
redis.call('PUBLISH', '$CHANNEL_CHAT_ROOM' .. ARGV[1] .. ':' .. ARGV[2], '{"sync":"' .. ARGV[3] .. '","id":"' .. id .. '"}')
return id
