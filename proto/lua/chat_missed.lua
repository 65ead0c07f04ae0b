#!lua flags=allow-oom
-- Events of one room (and those of all rooms) behind one id, up to another: the newest of them, oldest first.
-- ARGV: broadcast, room ("" for every room), behind this id, up to this id, at most so many
-- Answer: {id, e, id, e, …}
local key, room, limit = '$KEY_CHAT_LOG' .. ARGV[1], ARGV[2], tonumber(ARGV[5])
local found, scanned, upper = {}, 0, ARGV[4]
-- A room may be one of two hundred: the scan has a bound of its own.
while #found < limit and scanned < 10000 do
    local entries = redis.call('XREVRANGE', key, upper, '(' .. ARGV[3], 'COUNT', 500)
    for _, entry in ipairs(entries) do
        local r = entry[2][2]
        if #found < limit and (room == '' or r == '' or r == room) then
            found[#found + 1] = entry
        end
    end
    scanned = scanned + #entries
    if #entries < 500 then
        break
    end
    upper = '(' .. entries[#entries][1]
end
local answer = {}
for i = #found, 1, -1 do
    answer[#answer + 1] = found[i][1]
    answer[#answer + 1] = found[i][2][4]
end
return answer
