#!lua flags=allow-oom
-- Gives back the places of chat processes that are gone: nobody has listened to their ping channel for a while.
-- ARGV: own instance, how long (ms) a process may be deaf before it counts as gone
-- Answer: the instances that were reaped
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local all = redis.call('HGETALL', '$KEY_CHAT_INSTANCES')
local reaped = {}
for i = 1, #all, 2 do
    local instance, channel = all[i], all[i + 1]
    local deaf = 'deaf|' .. instance
    if instance ~= ARGV[1] and string.sub(instance, 1, 5) ~= 'deaf|' then
        if redis.call('PUBSUB', 'NUMSUB', channel)[2] > 0 then
            redis.call('HDEL', '$KEY_CHAT_INSTANCES', deaf)
        else
            local since = tonumber(redis.call('HGET', '$KEY_CHAT_INSTANCES', deaf) or 0)
            if since == 0 then
                redis.call('HSET', '$KEY_CHAT_INSTANCES', deaf, string.format('%.0f', now))
            elseif now - since >= tonumber(ARGV[2]) then
                for _, broadcast in ipairs(redis.call('SMEMBERS', '$KEY_CHAT_INSTANCE' .. instance)) do
                    local key = '$KEY_CHAT_ROOMS' .. broadcast
                    local rooms = tonumber(redis.call('HGET', key, 'rooms') or 0)
                    for room = 0, rooms - 1 do
                        local mine = room .. '|' .. instance
                        local places = tonumber(redis.call('HGET', key, mine) or 0)
                        if places > 0 then
                            redis.call('HINCRBY', key, room, -places)
                            redis.call('HINCRBY', key, 'total', -places)
                        end
                        redis.call('HDEL', key, mine)
                    end
                end
                redis.call('DEL', '$KEY_CHAT_INSTANCE' .. instance)
                redis.call('HDEL', '$KEY_CHAT_INSTANCES', instance, deaf)
                reaped[#reaped + 1] = instance
            end
        end
    end
end
return reaped
