-- Events into the logs of their broadcasts and out to the viewers, in one atomic step: what is acknowledged is in the log.
-- ARGV: for each event: broadcast, room ("" for all rooms), field e (see proto/chat.h)
-- Answer: the events' ids, in the order given
local ids, channels, order = {}, {}, {}
for i = 1, #ARGV, 3 do
    local broadcast, room, e = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local id = redis.call('XADD', '$KEY_CHAT_LOG' .. broadcast, '*', 'r', room, 'e', e)
    local ms = string.match(id, '^%d+')
    local channel = room == '' and '$CHANNEL_CHAT_ALL' .. broadcast or '$CHANNEL_CHAT_ROOM' .. broadcast .. ':' .. room
    local last = order[#order]
    ids[#ids + 1] = id
    -- One message per run of events of the same channel, so that the order of the log is the order of the messages too.
    if not last or last.channel ~= channel then
        last = {channel = channel, events = {}}
        order[#order + 1] = last
    end
    last.events[#last.events + 1] = '{"id":"' .. id .. '","at_ms":' .. ms .. ',' .. e
    channels[broadcast] = ms
end
for broadcast, ms in pairs(channels) do
    redis.call('ZADD', '$KEY_CHAT_MOVING', ms, broadcast)
end
for _, message in ipairs(order) do
    redis.call('PUBLISH', message.channel, '[' .. table.concat(message.events, ',') .. ']')
end
return ids
