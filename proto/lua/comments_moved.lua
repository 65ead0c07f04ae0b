-- The batch in archive has written a broadcast's log to MySQL up to an entry (included). Redis keeps what is not moved and a recent tail, from
-- which viewers who reconnect are served. Refused when the lease has gone to another.
-- ARGV: broadcast, lease token, id of the last moved entry, entries below which nothing is trimmed, milliseconds of tail beyond that
-- Answer: "fenced" | "more" | "drained" (nothing newer: the broadcast has left KEY_CHAT_MOVING, the next append puts it back)
local id, log = ARGV[1], '$KEY_CHAT_LOG' .. ARGV[1]
if redis.call('HGET', '$KEY_LEASE_ARCHIVE' .. id, 'token') ~= ARGV[2] then
    return 'fenced'
end
redis.call('SET', '$KEY_CHAT_MOVED' .. id, ARGV[3], 'EX', '2592000')
if redis.call('XLEN', log) > tonumber(ARGV[4]) then
    local moved_ms = tonumber(string.match(ARGV[3], '^%d+'))
    redis.call('XTRIM', log, 'MINID', '~', string.format('%.0f', moved_ms - tonumber(ARGV[5])))
end
local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', '1')
if newest[1] and newest[1][1] ~= ARGV[3] then
    return 'more'
end
redis.call('ZREM', '$KEY_CHAT_MOVING', id)
redis.call('EXPIRE', log, '604800')
return 'drained'
