#!lua flags=allow-oom
-- What archive has exported leaves its stream.
-- ARGV: the stream ($KEY_EXPORT_AUDIENCE or $KEY_EXPORT_STATES), id of the last exported entry, bytes of the batch
-- Answer: entries that are gone
local ms, sequence = string.match(ARGV[2], '^(%d+)%-(%d+)$')
local gone = redis.call('XTRIM', ARGV[1], 'MINID', ms .. '-' .. string.format('%.0f', tonumber(sequence) + 1))
if ARGV[1] == '$KEY_EXPORT_AUDIENCE' then
    -- Empty, the count begins anew: what a crash has left uncounted does not add up.
    if redis.call('XLEN', ARGV[1]) == 0 then
        redis.call('DEL', '$KEY_EXPORT_AUDIENCE_BYTES')
    elseif gone > 0 then
        redis.call('DECRBY', '$KEY_EXPORT_AUDIENCE_BYTES', ARGV[3])
    end
end
return gone
