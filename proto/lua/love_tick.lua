#!lua flags=allow-oom
-- Once a second by whoever holds the broadcast's lease: has the total changed since it was last told? Then it is noted as told, with its time.
-- ARGV: broadcast, lease token, ticks to keep at most (MySQL may be away for long)
-- Answer: "fenced" | "gone" | {changed 0|1, total, ms, state}
local id = ARGV[1]
if redis.call('HGET', '$KEY_LEASE_LOVE' .. id, 'token') ~= ARGV[2] then
    return 'fenced'
end
local love = '$KEY_LOVE' .. id
local total = redis.call('HGET', love, 'total')
if not total then
    redis.call('ZREM', '$KEY_LOVE_ACTIVE', id)
    return 'gone'
end
local time = redis.call('TIME')
local now_ms = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local changed = redis.call('HGET', love, 'published') ~= total
if changed then
    redis.call('HSET', love, 'published', total)
    redis.call('RPUSH', '$KEY_LOVE_TICKS' .. id, now_ms .. ':' .. total)
    redis.call('LTRIM', '$KEY_LOVE_TICKS' .. id, '-' .. ARGV[3], '-1')
end
return {changed and 1 or 0, total, now_ms, redis.call('HGET', '$KEY_BROADCAST' .. id, 'state') or ''}
