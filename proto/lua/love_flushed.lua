#!lua flags=allow-oom
-- MySQL has what love_take gave. A user who has tapped since stays among the changed.
-- ARGV: broadcast, lease token, number of ticks, then for each user: user, taps as written
-- Answer: "fenced" | "more" | "done": nothing has changed since
local id, changed, ticks = ARGV[1], '$KEY_LOVE_CHANGED' .. ARGV[1], '$KEY_LOVE_TICKS' .. ARGV[1]
if redis.call('HGET', '$KEY_LEASE_LOVE' .. id, 'token') ~= ARGV[2] then
    return 'fenced'
end
if tonumber(ARGV[3]) > 0 then
    redis.call('LTRIM', ticks, ARGV[3], '-1')
end
for i = 4, #ARGV, 2 do
    if redis.call('ZSCORE', '$KEY_LOVE_RANKING' .. id, ARGV[i]) == ARGV[i + 1] then
        redis.call('SREM', changed, ARGV[i])
    end
end
return (redis.call('SCARD', changed) > 0 or redis.call('LLEN', ticks) > 0) and 'more' or 'done'
