-- How many watch: published at most once in a while by whichever process asks first.
-- ARGV: broadcast, the least time (ms) between two
-- Answer: 1 when published
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local key = '$KEY_CHAT_STATE' .. ARGV[1]
if now - tonumber(redis.call('HGET', key, 'presence_at_ms') or 0) < tonumber(ARGV[2]) then
    return 0
end
redis.call('HSET', key, 'presence_at_ms', string.format('%.0f', now))
redis.call('EXPIRE', key, 172800)
local watching = tonumber(redis.call('HGET', '$KEY_CHAT_ROOMS' .. ARGV[1], 'total') or 0)
local unique = redis.call('PFCOUNT', '$KEY_CHAT_UNIQUE' .. ARGV[1])
redis.call('PUBLISH', '$CHANNEL_CHAT_ALL' .. ARGV[1], string.format('[{"type":"viewers","now":%.0f,"unique":%.0f,"at_ms":%.0f}]',
    math.max(watching, 0), math.max(unique, watching), now))
return 1
