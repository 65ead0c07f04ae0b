#!lua flags=allow-oom
-- The rooms that some events were said in, for viewers who come back and know only the last event they saw.
-- ARGV: broadcast, ids…
-- Answer: a room for each id; "" when the event is not there or was for all rooms
local answer = {}
for i = 2, #ARGV do
    local entry = redis.call('XRANGE', '$KEY_CHAT_LOG' .. ARGV[1], ARGV[i], ARGV[i])[1]
    answer[#answer + 1] = entry and entry[2][2] or ''
end
return answer
