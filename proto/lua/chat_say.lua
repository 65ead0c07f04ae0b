-- As chat_append, for what clients say: an event with a key that stands here already is not appended again, its id is the answer.
-- Keys are kept for a minute at least and two at most, so many a minute for each broadcast.
-- ARGV: how many keys a minute, then for each event: broadcast, room ("" for all rooms), field e (see proto/chat.h), key ("": none)
-- Answer: the events' ids, in the order given
-- include: append
local most = tonumber(ARGV[1])
local minute = math.floor(tonumber(redis.call('TIME')[1]) / 60)
local ids, tables = {}, {}

local function table_of(broadcast)
    if not tables[broadcast] then
        local key = '$KEY_CHAT_SAID' .. broadcast .. ':'
        tables[broadcast] = {now = key .. minute, before = key .. (minute - 1), room = most - redis.call('HLEN', key .. minute)}
    end
    return tables[broadcast]
end

local function say(broadcast, room, e, key)
    if key == '' then
        return append(broadcast, room, e)
    end
    local known = table_of(broadcast)
    local id = redis.call('HGET', known.now, key) or redis.call('HGET', known.before, key)
    if not id then
        id = append(broadcast, room, e)
        if known.room > 0 then
            redis.call('HSET', known.now, key, id)
            known.room = known.room - 1
            known.is_new = true
        end
    end
    return id
end

for i = 2, #ARGV, 4 do
    ids[#ids + 1] = say(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
for _, known in pairs(tables) do
    if known.is_new then
        redis.call('EXPIRE', known.now, 120)
    end
end
publish_appended()
return ids
