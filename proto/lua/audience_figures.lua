#!lua flags=allow-oom
-- How many watch a broadcast, the most that were counted at once, and how many different ones there were.
-- ARGV: broadcast
-- Answer: {now, peak, unique}
local now = math.max(0, tonumber(redis.call('HGET', '$KEY_CHAT_ROOMS' .. ARGV[1], 'total') or 0))
local peak = tonumber(redis.call('HGET', '$KEY_CHAT_STATE' .. ARGV[1], 'peak') or 0)
return {now, peak, redis.call('PFCOUNT', '$KEY_CHAT_UNIQUE' .. ARGV[1])}
