#!lua flags=allow-oom
-- How many places a process holds now in rooms of a broadcast: numbers, not differences, so that repeating it is harmless.
-- ARGV: broadcast, instance, its ping channel, then pairs (room, places)…
-- Answer: rooms that exist
local broadcast, instance = ARGV[1], ARGV[2]
local key = '$KEY_CHAT_ROOMS' .. broadcast
local rooms = tonumber(redis.call('HGET', key, 'rooms') or 0)
local holds = 0
for i = 4, #ARGV, 2 do
    local room, places = ARGV[i], tonumber(ARGV[i + 1])
    local mine = room .. '|' .. instance
    local change = places - tonumber(redis.call('HGET', key, mine) or 0)
    if change ~= 0 then
        redis.call('HINCRBY', key, room, change)
        redis.call('HINCRBY', key, 'total', change)
    end
    if places > 0 then
        redis.call('HSET', key, mine, places)
        holds = holds + places
    else
        redis.call('HDEL', key, mine)
    end
    -- Redis may have come back without its data.
    if tonumber(room) >= rooms then
        rooms = tonumber(room) + 1
        redis.call('HSET', key, 'rooms', rooms)
    end
end
if holds > 0 then
    redis.call('SADD', '$KEY_CHAT_INSTANCE' .. instance, broadcast)
    redis.call('HSET', '$KEY_CHAT_INSTANCES', instance, ARGV[3])
    redis.call('EXPIRE', key, 172800)
end
return rooms
