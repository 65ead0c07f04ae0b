-- A group of batches of taps: each is counted once, within the user's rate, while the broadcast is on air.
-- ARGV: taps a second that a user may send, taps at once (what the cap fills up to), seconds of a window; then for each batch:
--       broadcast, user, user's name, batch id, count
-- Answer: for each batch four values: "ok" | "limited" | "not_live" | "over" | "unknown", taps accepted, total, ms to wait (limited)
-- A batch that was counted is known for at least a window and at most two: sent again it gets the same answer.
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local rate, burst, window_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local window = math.floor(tonumber(time[1]) / window_s)
local states, answers = {}, {}

local function answer(code, accepted, total, wait_ms)
    answers[#answers + 1] = code
    answers[#answers + 1] = tostring(accepted)
    answers[#answers + 1] = tostring(total)
    answers[#answers + 1] = tostring(wait_ms)
end

-- Taps that the user may still send, filled up since the last batch.
local function allowance(id, user)
    local kept = redis.call('HGET', '$KEY_LOVE_RATE' .. id, user)
    if not kept then
        return burst
    end
    local taps, at_ms = string.match(kept, '^([%d.]+):(%d+)$')
    return math.min(burst, tonumber(taps) + math.max(0, now_ms - tonumber(at_ms)) * rate / 1000)
end

for i = 4, #ARGV, 5 do
    local id, user, name, batch, count = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4])
    local batches, field = '$KEY_LOVE_BATCHES' .. id .. ':', user .. '|' .. batch
    local done = redis.call('HGET', batches .. window, field) or redis.call('HGET', batches .. (window - 1), field)
    if states[id] == nil then
        states[id] = redis.call('HGET', '$KEY_BROADCAST' .. id, 'state') or ''
    end
    if done then
        local accepted, total = string.match(done, '^(%d+):(%d+)$')
        answer('ok', accepted, total, 0)
    elseif states[id] == '' then
        answer('unknown', 0, 0, 0)
    elseif states[id] ~= 'live' and states[id] ~= 'suspended' then
        answer(states[id] == 'scheduled' and 'not_live' or 'over', 0, 0, 0)
    else
        local left = allowance(id, user)
        local accepted = math.min(count, math.floor(left))
        if accepted < 1 then
            answer('limited', 0, 0, math.ceil((1 - left) * 1000 / rate))
        else
            local total = redis.call('HINCRBY', '$KEY_LOVE' .. id, 'total', accepted)
            if total == accepted and redis.call('EXISTS', '$KEY_LOVE_RESTORED') == 0 then
                redis.call('HSETNX', '$KEY_LOVE' .. id, 'seeding', '') -- the first here, but perhaps not the first of all
            end
            redis.call('ZINCRBY', '$KEY_LOVE_RANKING' .. id, accepted, user)
            redis.call('HSET', '$KEY_LOVE_NAMES' .. id, user, name)
            redis.call('SADD', '$KEY_LOVE_CHANGED' .. id, user)
            redis.call('HSET', '$KEY_LOVE_RATE' .. id, user, string.format('%.3f:%.0f', left - accepted, now_ms))
            redis.call('HSET', batches .. window, field, accepted .. ':' .. total)
            redis.call('EXPIRE', batches .. window, 2 * window_s)
            redis.call('ZADD', '$KEY_LOVE_ACTIVE', 'NX', now_ms, id)
            answer('ok', accepted, total, 0)
        end
    end
end
return answers
