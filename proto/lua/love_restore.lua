#!lua flags=allow-oom
-- Redis has come back without its data: broadcasts whose hearts MySQL has are marked, so that love_seed puts them back before anything is told or written.
-- One that has hearts here was marked by love_add if they came since, or was never lost.
-- ARGV: "more" | "all": these are the last ones, then the broadcasts
-- Answer: "ok"
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for i = 2, #ARGV do
    local love = '$KEY_LOVE' .. ARGV[i]
    if redis.call('HEXISTS', love, 'total') == 0 then
        redis.call('HSETNX', love, 'seeding', '')
        redis.call('ZADD', '$KEY_LOVE_ACTIVE', 'NX', now_ms, ARGV[i])
    end
end
if ARGV[1] == 'all' then
    redis.call('SET', '$KEY_LOVE_RESTORED', '1')
end
return 'ok'
