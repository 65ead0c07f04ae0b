#!lua flags=allow-oom
-- What MySQL has of a broadcast goes on top of what was counted since Redis lost it: the total once, and user after user in the order of their ids.
-- ARGV: broadcast, lease token; to add, after them: the user behind whom these stand ("": they are the first), MySQL's total, "more" | "all": these are
--       the last ones, then for each user: user, user's name, taps
-- Answer: "fenced" | "seeded" | ">" and a user: MySQL's users behind this one are missing
local id, love = ARGV[1], '$KEY_LOVE' .. ARGV[1]
if redis.call('HGET', '$KEY_LEASE_LOVE' .. id, 'token') ~= ARGV[2] then
    return 'fenced'
end
local behind = redis.call('HGET', love, 'seeding')
if not behind then
    return 'seeded'
end
if #ARGV == 2 or ARGV[3] ~= behind then
    return '>' .. behind
end
if behind == '' and tonumber(ARGV[4]) > 0 then
    redis.call('HINCRBY', love, 'total', ARGV[4])
end
for i = 6, #ARGV, 3 do
    redis.call('ZINCRBY', '$KEY_LOVE_RANKING' .. id, ARGV[i + 2], ARGV[i])
    redis.call('HSETNX', '$KEY_LOVE_NAMES' .. id, ARGV[i], ARGV[i + 1])
    behind = ARGV[i]
end
if ARGV[5] == 'all' then
    redis.call('HDEL', love, 'seeding')
    return 'seeded'
end
redis.call('HSET', love, 'seeding', behind)
return '>' .. behind
