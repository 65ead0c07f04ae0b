#!lua flags=allow-oom
-- Places for viewers of one process: in the room they ask for (they were there before), else in the first room with a free one.
-- ARGV: broadcast, instance, its ping channel, room size, places wanted in any room, count of pairs, pairs (room, places wanted
--       there)…, then the ids of those who join (for the count of unique viewers)
-- Answer: {rooms that exist, room, places, room, places, …}: first the answers to the pairs, in their order (places may be fewer
--         than wanted: the rest is in the rooms that follow)
local broadcast, instance, size = ARGV[1], ARGV[2], tonumber(ARGV[4])
local key = '$KEY_CHAT_ROOMS' .. broadcast
local any, pairs_count = tonumber(ARGV[5]), tonumber(ARGV[6])
local rooms = tonumber(redis.call('HGET', key, 'rooms') or 0)
local existed = rooms
local answer, taken = {}, 0

local function take(room, places)
    -- Anybody may ask for any number: of a room that grants nothing nothing is kept.
    if places > 0 then
        redis.call('HINCRBY', key, room, places)
        redis.call('HINCRBY', key, room .. '|' .. instance, places)
        taken = taken + places
    end
    answer[#answer + 1] = room
    answer[#answer + 1] = places
end

for i = 1, pairs_count do
    local room, wanted = tonumber(ARGV[5 + 2 * i]), tonumber(ARGV[6 + 2 * i])
    local granted = 0
    if room < rooms then
        -- The places of a process that died are still counted for a while: those who come back from there may fill the room twice.
        granted = math.max(0, math.min(wanted, 2 * size - tonumber(redis.call('HGET', key, room) or 0)))
    end
    take(room, granted)
    any = any + wanted - granted
end
local room = 0
while any > 0 do
    local free = size
    if room >= rooms then
        rooms = room + 1
    else
        free = size - tonumber(redis.call('HGET', key, room) or 0)
    end
    if free > 0 then
        local places = math.min(free, any)
        take(room, places)
        any = any - places
    end
    room = room + 1
end
redis.call('HINCRBY', key, 'total', taken)
redis.call('EXPIRE', key, 172800)
redis.call('SADD', '$KEY_CHAT_INSTANCE' .. instance, broadcast)
redis.call('HSET', '$KEY_CHAT_INSTANCES', instance, ARGV[3])
local first = 7 + 2 * pairs_count
if #ARGV >= first then
    redis.call('PFADD', '$KEY_CHAT_UNIQUE' .. broadcast, unpack(ARGV, first))
    redis.call('EXPIRE', '$KEY_CHAT_UNIQUE' .. broadcast, 172800)
end
if rooms > existed then
    redis.call('HSET', key, 'rooms', rooms)
    redis.call('PUBLISH', '$CHANNEL_CHAT_ALL' .. broadcast, '{"rooms":' .. rooms .. '}')
end
table.insert(answer, 1, rooms)
return answer
