#!lua flags=allow-oom
-- An uploader has put a segment and the playlists that name it: the entry leaves the queue together with the new playlist state.
-- Refused when the lease has gone to another.
-- ARGV: id, lease token, entry id in the stream ("": none, only the state), playlist state (JSON), final ("1": playlist closed)
-- Answer: "ok" | "fenced"
-- include: state
local id = ARGV[1]
if redis.call('HGET', '$KEY_LEASE_UPLOADER' .. id, 'token') ~= ARGV[2] then
    return 'fenced'
end
if ARGV[3] ~= '' then
    redis.call('XACK', '$KEY_SEGMENTS' .. id, '$SEGMENTS_GROUP', ARGV[3])
    redis.call('XDEL', '$KEY_SEGMENTS' .. id, ARGV[3])
end
redis.call('SET', '$KEY_PLAYLIST' .. id, ARGV[4], 'EX', DAY_S)
if ARGV[5] == '1' then
    redis.call('ZREM', '$KEY_UPLOADS', id)
    redis.call('DEL', '$KEY_SEGMENTS' .. id)
end
return 'ok'
