#!lua flags=allow-oom
-- The broadcast is over and MySQL has everything, marked as final: Redis is freed. Refused while anything is missing.
-- ARGV: broadcast, lease token
-- Answer: "fenced" | "more" | "settled"
local id = ARGV[1]
if redis.call('HGET', '$KEY_LEASE_LOVE' .. id, 'token') ~= ARGV[2] then
    return 'fenced'
end
local state = redis.call('HGET', '$KEY_BROADCAST' .. id, 'state')
local is_over = state == 'ended' or state == 'archived'
local told = redis.call('HGET', '$KEY_LOVE' .. id, 'published') == redis.call('HGET', '$KEY_LOVE' .. id, 'total')
if not is_over or not told or redis.call('SCARD', '$KEY_LOVE_CHANGED' .. id) > 0 or redis.call('LLEN', '$KEY_LOVE_TICKS' .. id) > 0 then
    return 'more'
end
redis.call('DEL', '$KEY_LOVE' .. id, '$KEY_LOVE_RANKING' .. id, '$KEY_LOVE_NAMES' .. id, '$KEY_LOVE_CHANGED' .. id, '$KEY_LOVE_TICKS' .. id,
    '$KEY_LOVE_RATE' .. id)
redis.call('ZREM', '$KEY_LOVE_ACTIVE', id)
return 'settled'
