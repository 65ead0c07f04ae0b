-- Shared by the scripts below it: into the log, onto the list of those to be moved, out to the viewers.
local appended = {ids = {}, messages = {}, newest = {}}

-- `room` "": for all rooms. Returns the event's id.
local function append(broadcast, room, e)
    local id = redis.call('XADD', '$KEY_CHAT_LOG' .. broadcast, '*', 'r', room, 'e', e)
    local ms = string.match(id, '^%d+')
    local channel = room == '' and '$CHANNEL_CHAT_ALL' .. broadcast or '$CHANNEL_CHAT_ROOM' .. broadcast .. ':' .. room
    local messages = appended.messages
    local last = messages[#messages]
    -- One message per run of events of the same channel, so that the order of the log is the order of the messages too.
    if not last or last.channel ~= channel then
        last = {channel = channel, events = {}}
        messages[#messages + 1] = last
    end
    last.events[#last.events + 1] = '{"id":"' .. id .. '","at_ms":' .. ms .. ',' .. e
    appended.newest[broadcast] = ms
    return id
end

-- To be called once, behind the last append().
local function publish_appended()
    for broadcast, ms in pairs(appended.newest) do
        redis.call('ZADD', '$KEY_CHAT_MOVING', ms, broadcast)
    end
    for _, message in ipairs(appended.messages) do
        redis.call('PUBLISH', message.channel, '[' .. table.concat(message.events, ',') .. ']')
    end
end
