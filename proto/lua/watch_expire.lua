#!lua flags=allow-oom
-- What is due by Redis' clock: live broadcasts without media become suspended, suspended ones whose grace is over become ended.
-- Any number of processes may call it, as often as they like; each due broadcast is changed once.
-- ARGV: most broadcasts to change of each kind
-- Answer: {suspended ids…, "|", ended ids…}
-- include: state
local now = now_ms()
local answer = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', '$KEY_WATCH_SILENCE', '-inf', integer(now), 'LIMIT', '0', ARGV[1])) do
    if transition(id, 'suspended', now, 'silence') then
        answer[#answer + 1] = id
    else
        redis.call('ZREM', '$KEY_WATCH_SILENCE', id)
    end
end
answer[#answer + 1] = '|'
for _, id in ipairs(redis.call('ZRANGEBYSCORE', '$KEY_WATCH_GRACE', '-inf', integer(now), 'LIMIT', '0', ARGV[1])) do
    if redis.call('HGET', '$KEY_BROADCAST' .. id, 'state') == 'suspended' and transition(id, 'ended', now, 'grace') then
        answer[#answer + 1] = id
    else
        redis.call('ZREM', '$KEY_WATCH_GRACE', id)
    end
end
return answer
