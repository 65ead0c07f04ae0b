-- Shared by the scripts below it: the clock and the one function that changes a broadcast's state.
local function now_ms()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function integer(number)
    return string.format('%.0f', number)
end

local legal = {
    scheduled = {live = true, ended = true},
    live = {suspended = true, ended = true},
    suspended = {live = true, ended = true},
    ended = {archived = true},
}

local DAY_S = 86400

-- request_id: of the request that it follows from; nil: of none.
local function publish_state(id, state, version, now, reason, request_id)
    redis.call('PUBLISH', '$CHANNEL_BROADCAST', cjson.encode({
        type = 'state', id = id, state = state, version = version, at_ms = now, reason = reason, request_id = request_id}))
    redis.call('XADD', '$KEY_EXPORT_STATES', 'MAXLEN', '~', '$EXPORT_STATES_MAX', '*', 'e', '{"broadcast":"' .. id .. '","type":"state","at_ms":' ..
        integer(now) .. ',"state":"' .. state .. '","version":' .. integer(version) .. ',"reason":' .. cjson.encode(reason) .. '}')
end

-- Returns the new version, or nil when the change is not legal from the state it is in.
local function transition(id, to, now, reason, request_id)
    local key = '$KEY_BROADCAST' .. id
    local from = redis.call('HGET', key, 'state')
    if not from or not legal[from] or not legal[from][to] then
        return nil
    end
    local version = redis.call('HINCRBY', key, 'version', 1)
    redis.call('HSET', key, 'state', to, 'reason', reason)
    if to == 'live' then
        redis.call('HSETNX', key, 'live_at_ms', integer(now))
        redis.call('PERSIST', key)
        redis.call('ZREM', '$KEY_WATCH_GRACE', id)
    else
        redis.call('HSET', key, to .. '_at_ms', integer(now))
        redis.call('ZREM', '$KEY_WATCH_SILENCE', id)
    end
    if to == 'suspended' then
        local grace = tonumber(redis.call('HGET', key, 'grace_ms') or 60000)
        redis.call('ZADD', '$KEY_WATCH_GRACE', integer(now + grace), id)
    elseif to == 'ended' then
        redis.call('ZREM', '$KEY_WATCH_GRACE', id)
        local key_hash = redis.call('HGET', key, 'key_hash')
        if key_hash and key_hash ~= '' then
            redis.call('DEL', '$KEY_STREAM_KEY' .. key_hash)
        end
        redis.call('EXPIRE', key, DAY_S)
    end
    redis.call('ZADD', '$KEY_BROADCASTS', integer(now), id)
    redis.call('SADD', '$KEY_BROADCASTS_UNSAVED', id)
    publish_state(id, to, version, now, reason, request_id)
    return version
end
