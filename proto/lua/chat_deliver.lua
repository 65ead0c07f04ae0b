#!lua flags=allow-oom
-- Events of an outbox into the logs of their broadcasts and out to the viewers of all rooms, each once however often it is delivered: the outbox id,
-- the entry and the message are one atomic step. An id is kept until the sender takes it out, when the outbox holds it no more.
-- ARGV: not after (ms on Redis' clock: behind it another may have delivered, deleted and forgotten them), then for each event: outbox id, broadcast,
--       field e (see proto/chat.h)
-- Answer: how many are new; -1: too late, nothing was done
local time = redis.call('TIME')
local added = 0
if tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) > tonumber(ARGV[1]) then
    return -1
end
for i = 2, #ARGV, 3 do
    local broadcast, e = ARGV[i + 1], ARGV[i + 2]
    local delivered = '$KEY_CHAT_DELIVERED' .. broadcast
    if redis.call('SADD', delivered, ARGV[i]) == 1 then
        local id = redis.call('XADD', '$KEY_CHAT_LOG' .. broadcast, '*', 'r', '', 'e', e)
        local ms = string.match(id, '^%d+')
        redis.call('ZADD', '$KEY_CHAT_MOVING', ms, broadcast)
        redis.call('PUBLISH', '$CHANNEL_CHAT_ALL' .. broadcast, '[{"id":"' .. id .. '","at_ms":' .. ms .. ',' .. e .. ']')
        added = added + 1
    end
    -- For ids that a crash kept from being taken out.
    redis.call('EXPIRE', delivered, '2592000')
end
return added
