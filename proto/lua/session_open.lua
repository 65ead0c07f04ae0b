#!lua flags=allow-oom
-- A publisher with a good key is there. A session that sends media is not kicked; one that is silent is replaced.
-- ARGV: id, ingest (instance), key_hash (none or "": it was allowed in before, its broadcast is being restored)
-- Answer: {"ok", session, state, version, title, owner_id, owner_name, key_hash, grace_ms, created_at_ms, live_at_ms or "", key_version}
--         {"busy", ms until the other session would count as silent} | {"ended"} | {"unknown"}
--         {"other_key"}: not the key that is known here; MySQL knows which one is the newest
-- include: state
local id, ingest, key_hash = ARGV[1], ARGV[2], ARGV[3] or ''
local key = '$KEY_BROADCAST' .. id
local now = now_ms()
local b = redis.call('HMGET', key, 'state', 'session', 'connected', 'media_at_ms', 'ingest', 'version', 'title', 'owner_id',
    'owner_name', 'key_hash', 'grace_ms', 'created_at_ms', 'live_at_ms', 'key_version')
local state, session = b[1], tonumber(b[2] or 0)
if not state then
    return {'unknown'}
end
if state == 'ended' or state == 'archived' then
    return {'ended'}
end
if key_hash ~= '' and key_hash ~= b[10] then
    return {'other_key'}
end
if b[3] == '1' then
    local silent_in = tonumber(b[4] or 0) + $SESSION_SILENT_MS - now
    if silent_in > 0 then
        return {'busy', integer(silent_in)}
    end
    redis.call('PUBLISH', '$CHANNEL_STREAM', cjson.encode({
        type = 'stream.replaced', id = id, session = session, ingest = b[5] or ''}))
end
session = math.max(session + 1, now)
redis.call('HSET', key, 'session', integer(session), 'connected', '1', 'ingest', ingest, 'media_at_ms', integer(now))
redis.call('PERSIST', key)
if b[10] and b[10] ~= '' then
    redis.call('SET', '$KEY_STREAM_KEY' .. b[10], id, 'EX', 7 * DAY_S)
end
if state == 'suspended' then
    redis.call('ZADD', '$KEY_WATCH_GRACE', integer(now + tonumber(b[11] or 60000)), id)
elseif state == 'live' then
    -- The predecessor hung: the broadcast is not silent before this session had its chance.
    redis.call('ZADD', '$KEY_WATCH_SILENCE', integer(now + $BROADCAST_SILENCE_MS), id)
end
redis.call('ZADD', '$KEY_STREAMS', integer(now), id)
redis.call('PUBLISH', '$CHANNEL_STREAM', cjson.encode({
    type = 'stream.opened', id = id, session = session, ingest = ingest}))
return {'ok', integer(session), state, b[6], b[7] or '', b[8] or '', b[9] or '', b[10] or '', b[11] or '60000', b[12] or '0', b[13] or '', b[14] or '0'}
