#!lua flags=allow-oom
-- Makes the hash of a broadcast, or restores one that Redis lost. One that exists is left as it is, but for its stream key: MySQL
-- numbers them, and a newer one takes the older one's place. So it is also how a renewed key gets here.
-- ARGV: id, state (scheduled; suspended to restore one that was on air), title, owner_id, owner_name, key_hash, grace_ms,
--       created_at_ms ("0": now), live_at_ms ("0": never was), reason ("created", "restored"),
--       key_version (none or "0": any other key is newer; with key_hash "": without a key, whoever has one is looked up in MySQL)
-- Answer: {1 when made or 0 when it existed, state, version, key_version}
-- include: state
local id, state = ARGV[1], ARGV[2]
local key_hash, key_version = ARGV[6], tonumber(ARGV[11] or 0)
local key = '$KEY_BROADCAST' .. id
local now = now_ms()
local existing = redis.call('HMGET', key, 'state', 'version', 'key_hash', 'key_version')
if existing[1] then
    local known_version = tonumber(existing[4] or 0)
    if key_hash ~= '' and key_version > known_version and existing[1] ~= 'ended' and existing[1] ~= 'archived' then
        redis.call('DEL', '$KEY_STREAM_KEY' .. (existing[3] or ''))
        redis.call('HSET', key, 'key_hash', key_hash, 'key_version', integer(key_version))
        redis.call('SET', '$KEY_STREAM_KEY' .. key_hash, id, 'EX', 7 * DAY_S)
        known_version = key_version
    end
    return {0, existing[1], existing[2], integer(known_version)}
end
redis.call('HSET', key, 'state', state, 'version', integer(now), 'title', ARGV[3], 'owner_id', ARGV[4], 'owner_name', ARGV[5],
    'key_hash', key_hash, 'key_version', integer(key_version), 'grace_ms', ARGV[7],
    'created_at_ms', ARGV[8] == '0' and integer(now) or ARGV[8], 'reason', ARGV[10])
if ARGV[9] ~= '0' then
    redis.call('HSET', key, 'live_at_ms', ARGV[9])
end
if state == 'suspended' then
    redis.call('HSET', key, 'suspended_at_ms', integer(now))
    redis.call('ZADD', '$KEY_WATCH_GRACE', integer(now + tonumber(ARGV[7])), id)
else
    -- A broadcast that never starts does not stay for ever; ingest and live-api restore it from MySQL if it does start.
    redis.call('EXPIRE', key, 7 * DAY_S)
end
if key_hash ~= '' and (state == 'scheduled' or state == 'suspended') then
    redis.call('SET', '$KEY_STREAM_KEY' .. key_hash, id, 'EX', 7 * DAY_S)
end
redis.call('ZADD', '$KEY_BROADCASTS', integer(now), id)
publish_state(id, state, now, now, ARGV[10])
return {1, state, integer(now), integer(key_version)}
