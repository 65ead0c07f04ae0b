#!lua flags=allow-oom
-- The batch in archive has written a broadcast's log to MySQL up to an entry (included). Redis keeps what is not moved and a recent tail, from
-- which viewers who reconnect are served: the last entries, and all of the last seconds. Refused when the lease has gone to another.
-- ARGV: broadcast, lease token, id of the last moved entry, entries of the tail, its milliseconds
-- Answer: "fenced" | "more" | "drained": nothing newer. Then the broadcast has left KEY_CHAT_MOVING (the next append puts it back), or it stays
--         there because more than the tail's entries are too young to be trimmed.
local id, log = ARGV[1], '$KEY_CHAT_LOG' .. ARGV[1]
local entries = tonumber(ARGV[4])
if redis.call('HGET', '$KEY_LEASE_ARCHIVE' .. id, 'token') ~= ARGV[2] then
    return 'fenced'
end
redis.call('SET', '$KEY_CHAT_MOVED' .. id, ARGV[3], 'EX', '2592000')
local is_trimmed = true
if redis.call('XLEN', log) > entries then
    -- Counted from the last moved entry, so that nothing behind it is ever trimmed.
    local tail = redis.call('XREVRANGE', log, ARGV[3], '-', 'COUNT', ARGV[4])
    if #tail == entries then
        local time = redis.call('TIME')
        local young_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - tonumber(ARGV[5])
        local first = tail[#tail][1]
        is_trimmed = tonumber(string.match(first, '^%d+')) <= young_ms
        redis.call('XTRIM', log, 'MINID', is_trimmed and first or string.format('%.0f', young_ms))
    end
end
local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', '1')
if newest[1] and newest[1][1] ~= ARGV[3] then
    return 'more'
end
if is_trimmed or redis.call('XLEN', log) <= entries then
    redis.call('ZREM', '$KEY_CHAT_MOVING', id)
    redis.call('EXPIRE', log, '604800')
end
return 'drained'
