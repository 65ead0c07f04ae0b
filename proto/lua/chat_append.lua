-- Events into the logs of their broadcasts and out to the viewers, in one atomic step: what is acknowledged is in the log.
-- ARGV: for each event: broadcast, room ("" for all rooms), field e (see proto/chat.h)
-- Answer: the events' ids, in the order given
-- include: append
local ids = {}
for i = 1, #ARGV, 3 do
    ids[#ids + 1] = append(ARGV[i], ARGV[i + 1], ARGV[i + 2])
end
publish_appended()
return ids
