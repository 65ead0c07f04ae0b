#!lua flags=allow-oom
-- What MySQL does not have yet: some of the users whose taps have changed, with their taps as they are now, and the oldest ticks.
-- ARGV: broadcast, users at most, ticks at most
-- Answer: {total, state, {"<ms>:<total>", …}, {user, name, taps, …}}
local id = ARGV[1]
local users = {}
if redis.call('HEXISTS', '$KEY_LOVE' .. id, 'seeding') == 1 then
    return {'0', '', {}, {}} -- a keeper from before Redis lost its data: what is here is only a part
end
for _, user in ipairs(redis.call('SRANDMEMBER', '$KEY_LOVE_CHANGED' .. id, ARGV[2])) do
    users[#users + 1] = user
    users[#users + 1] = redis.call('HGET', '$KEY_LOVE_NAMES' .. id, user) or ''
    users[#users + 1] = redis.call('ZSCORE', '$KEY_LOVE_RANKING' .. id, user) or '0'
end
return {redis.call('HGET', '$KEY_LOVE' .. id, 'total') or '0', redis.call('HGET', '$KEY_BROADCAST' .. id, 'state') or '',
    redis.call('LRANGE', '$KEY_LOVE_TICKS' .. id, 0, tonumber(ARGV[3]) - 1), users}
