#!lua flags=allow-oom
-- Everything of an ended broadcast stands in the store: ended -> archived.
-- ARGV: id
-- Answer: "ok" | "archived" (it was so already) | "illegal" (it is not over) | "unknown" (the hash is gone: only MySQL knows it)
-- include: state
local state = redis.call('HGET', '$KEY_BROADCAST' .. ARGV[1], 'state')
if not state then
    return 'unknown'
end
if state == 'archived' then
    return 'archived'
end
return transition(ARGV[1], 'archived', now_ms(), 'archived') and 'ok' or 'illegal'
