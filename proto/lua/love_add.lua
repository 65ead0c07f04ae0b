-- A group of batches of taps: each is counted once, within the user's rate, while the broadcast is on air.
-- ARGV: taps a second that a user may send, taps at once (what the cap fills up to), the same two for batches, seconds of a window; then for each batch:
--       broadcast, user, user's name, batch id, count
-- Answer: one string (many are slow to write and to read), for each batch four words: ok | limited (no taps left) | too_many (no batches left) | not_live |
--         over | unknown, taps accepted, total, ms to wait (limited, too_many); a space between any two
-- A batch that was counted is known for at least a window and at most two: sent again it gets the same answer, whatever the caps. So the cap on batches
-- bounds what is remembered of a user: batches at once, and two windows of batches a second.
-- What a broadcast's batches read and write goes in a few commands for all of them: a command costs more than what it does.
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local rate, burst, batch_rate, batch_burst, window_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local window = math.floor(tonumber(time[1]) / window_s)
local AT_ONCE = 1000 -- elements of a command; Lua unpacks no more than some thousands
local answers = {}

local function integer(number)
    return string.format('%.0f', number)
end

-- Answers stand in the order of the batches, whatever the order of counting.
local function answer(batch, code, accepted, total, wait_ms)
    answers[batch.at] = code
    answers[batch.at + 1] = integer(accepted)
    answers[batch.at + 2] = integer(total)
    answers[batch.at + 3] = integer(wait_ms)
end

local function read(key, fields)
    local values = {}
    for from = 1, #fields, AT_ONCE do
        for _, value in ipairs(redis.call('HMGET', key, unpack(fields, from, math.min(from + AT_ONCE - 1, #fields)))) do
            values[#values + 1] = value
        end
    end
    return values
end

local function write(command, key, args)
    for from = 1, #args, AT_ONCE do
        redis.call(command, key, unpack(args, from, math.min(from + AT_ONCE - 1, #args)))
    end
end

-- Taps and batches that the user may still send, filled up since the last batch.
local function allowance(kept)
    if not kept then
        return {taps = burst, batches = batch_burst}
    end
    local taps, at_ms, batches = string.match(kept, '^([%d.]+):(%d+):?([%d.]*)$') -- without batches: of a process from before they were capped
    local seconds = math.max(0, now_ms - tonumber(at_ms)) / 1000
    return {taps = math.min(burst, tonumber(taps) + seconds * rate), batches = math.min(batch_burst, (tonumber(batches) or batch_burst) + seconds * batch_rate)}
end

local function keep(id, group)
    local names, rates, done = {}, {}, {}
    for _, user in ipairs(group.users) do
        redis.call('ZINCRBY', '$KEY_LOVE_RANKING' .. id, group.taps[user], user)
        names[#names + 1] = user
        names[#names + 1] = group.names[user]
        rates[#rates + 1] = user
        rates[#rates + 1] = string.format('%.3f:%.0f:%.3f', group.left[user].taps, now_ms, group.left[user].batches)
    end
    for _, field in ipairs(group.fields) do
        done[#done + 1] = field
        done[#done + 1] = group.done[field]
    end
    write('HSET', '$KEY_LOVE_NAMES' .. id, names)
    write('HSET', '$KEY_LOVE_RATE' .. id, rates)
    write('SADD', '$KEY_LOVE_CHANGED' .. id, group.users)
    write('HSET', '$KEY_LOVE_BATCHES' .. id .. ':' .. window, done)
    redis.call('EXPIREAT', '$KEY_LOVE_BATCHES' .. id .. ':' .. window, integer((window + 2) * window_s)) -- nobody looks there from then on
    redis.call('HINCRBY', '$KEY_LOVE' .. id, 'total', integer(group.accepted))
    redis.call('ZADD', '$KEY_LOVE_ACTIVE', 'NX', now_ms, id)
    if group.is_first and redis.call('EXISTS', '$KEY_LOVE_RESTORED') == 0 then
        redis.call('HSETNX', '$KEY_LOVE' .. id, 'seeding', '') -- the first here, but perhaps not the first of all
    end
end

local function add(group, batch, left, total)
    local user, accepted = batch.user, math.min(batch.count, math.floor(left.taps))
    if left.batches < 1 then
        answer(batch, 'too_many', 0, 0, math.ceil((1 - left.batches) * 1000 / batch_rate))
        return
    end
    if accepted < 1 then
        answer(batch, 'limited', 0, 0, math.ceil((1 - left.taps) * 1000 / rate))
        return
    end
    if not group.taps[user] then
        group.users[#group.users + 1] = user
    end
    group.taps[user] = (group.taps[user] or 0) + accepted
    group.names[user] = batch.name
    group.left[user] = left
    left.taps, left.batches = left.taps - accepted, left.batches - 1
    group.accepted = group.accepted + accepted
    group.fields[#group.fields + 1] = batch.field
    group.done[batch.field] = integer(accepted) .. ':' .. integer(total + group.accepted)
    answer(batch, 'ok', accepted, total + group.accepted, 0)
end

local function count(id, batches)
    local fields, users = {}, {}
    for i, batch in ipairs(batches) do
        fields[i], users[i] = batch.field, batch.user
    end
    local done = read('$KEY_LOVE_BATCHES' .. id .. ':' .. window, fields)
    local done_before = read('$KEY_LOVE_BATCHES' .. id .. ':' .. (window - 1), fields)
    local state = redis.call('HGET', '$KEY_BROADCAST' .. id, 'state')
    local is_on_air = state == 'live' or state == 'suspended'
    local rates = is_on_air and read('$KEY_LOVE_RATE' .. id, users)
    local known = redis.call('HGET', '$KEY_LOVE' .. id, 'total')
    local total = tonumber(known or 0)
    local group = {users = {}, taps = {}, names = {}, left = {}, fields = {}, done = {}, accepted = 0, is_first = not known}
    for i, batch in ipairs(batches) do
        local same = group.done[batch.field] or done[i] or done_before[i]
        if same then
            local accepted, total_then = string.match(same, '^(%d+):(%d+)$')
            answer(batch, 'ok', accepted, total_then, 0)
        elseif is_on_air then
            add(group, batch, group.left[batch.user] or allowance(rates[i]), total)
        else
            answer(batch, not state and 'unknown' or state == 'scheduled' and 'not_live' or 'over', 0, 0, 0)
        end
    end
    if group.accepted > 0 then
        keep(id, group)
    end
end

local broadcasts, ids = {}, {}
for i = 6, #ARGV, 5 do
    local id, user = ARGV[i], ARGV[i + 1]
    if not broadcasts[id] then
        broadcasts[id] = {}
        ids[#ids + 1] = id
    end
    table.insert(broadcasts[id], {at = (i - 6) / 5 * 4 + 1, user = user, name = ARGV[i + 2], field = user .. '|' .. ARGV[i + 3], count = tonumber(ARGV[i + 4])})
end
for _, id in ipairs(ids) do
    count(id, broadcasts[id])
end
return table.concat(answers, ' ')
