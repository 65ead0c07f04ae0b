-- Viewers who came and went, as a chat process has gathered them, into the stream from which archive exports them; once, however often it is said.
-- ARGV: writer (one life of one process), number of the batch (rises from 1), bytes that may wait in the stream, the batch (a JSON object a line)
-- Answer: 1 when it stands there or did before, 0 when too much waits
local writer = '$KEY_EXPORT_AUDIENCE_WRITER' .. ARGV[1]
if tonumber(redis.call('GET', writer) or 0) >= tonumber(ARGV[2]) then
    return 1
end
if tonumber(redis.call('GET', '$KEY_EXPORT_AUDIENCE_BYTES') or 0) + #ARGV[4] > tonumber(ARGV[3]) then
    return 0
end
redis.call('XADD', '$KEY_EXPORT_AUDIENCE', '*', 'e', ARGV[4])
redis.call('INCRBY', '$KEY_EXPORT_AUDIENCE_BYTES', #ARGV[4])
redis.call('SET', writer, ARGV[2], 'EX', 86400)
return 1
