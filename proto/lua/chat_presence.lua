#!lua flags=allow-oom
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

-- Viewers of a process that died are counted until its places are given back, and those who came back elsewhere are counted twice.
local function is_exact()
    local instances = redis.call('HGETALL', '$KEY_CHAT_INSTANCES')
    for i = 1, #instances, 2 do
        if string.sub(instances[i], 1, 5) ~= 'deaf|' and redis.call('SISMEMBER', '$KEY_CHAT_INSTANCE' .. instances[i], ARGV[1]) == 1 and
            redis.call('PUBSUB', 'NUMSUB', instances[i + 1])[2] == 0 then
            return false
        end
    end
    return true
end

local watching = tonumber(redis.call('HGET', '$KEY_CHAT_ROOMS' .. ARGV[1], 'total') or 0)
local unique = redis.call('PFCOUNT', '$KEY_CHAT_UNIQUE' .. ARGV[1])
local peak = tonumber(redis.call('HGET', key, 'peak') or 0)
if watching > peak and is_exact() then
    peak = watching
    redis.call('HSET', key, 'peak', peak)
end
redis.call('PUBLISH', '$CHANNEL_CHAT_ALL' .. ARGV[1], string.format('[{"type":"viewers","now":%.0f,"peak":%.0f,"unique":%.0f,"at_ms":%.0f}]',
    math.max(watching, 0), peak, unique, now))
return 1
