/* The Lua scripts, texts in proto/lua/<name>.lua; each file's head says arguments and answer. They are how the state of
 * a broadcast changes: atomic, with Redis' own clock, and with the PUBLISH inside. All run on the state Redis.
 *
 * When Redis has reached its `maxmemory` it refuses what viewers send (comments, hearts, who came and went); all other
 * scripts are bounded in what they keep and go on (`flags=allow-oom`): the video, and what makes room again. */
#pragma once

#include "libcommon/redis_link.h"

/* live-api; both it and ingest to restore a broadcast, or for a newer stream key */
extern const struct redis_script script_broadcast_create;
extern const struct redis_script script_broadcast_end;        /* live-api */
extern const struct redis_script script_broadcast_live;       /* segment-uploader: a segment can be fetched */
extern const struct redis_script script_broadcast_retitle;    /* live-api */
extern const struct redis_script script_broadcast_saved;      /* live-api: the state stands in MySQL */
extern const struct redis_script script_broadcast_archived;   /* archive: everything stands in the store */
extern const struct redis_script script_broadcast_visibility; /* archive */
extern const struct redis_script script_session_open;         /* ingest */
extern const struct redis_script script_session_touch;        /* ingest: media arrived */
extern const struct redis_script script_session_close;        /* ingest */
extern const struct redis_script script_watch_expire; /* segment-uploader: silence -> suspended, grace over -> ended */
extern const struct redis_script script_segment_push; /* transcoder child */
extern const struct redis_script script_segments_group; /* segment-uploader */
extern const struct redis_script script_segment_done;   /* segment-uploader */
extern const struct redis_script script_love_add;       /* love-counter, as are the next six */
extern const struct redis_script script_love_tick;      /* the total to be told now */
extern const struct redis_script script_love_take;      /* what MySQL does not have */
extern const struct redis_script script_love_flushed;   /* MySQL has it */
extern const struct redis_script script_love_settled;   /* the broadcast is over and MySQL has everything */
extern const struct redis_script script_love_restore;   /* Redis came back empty */
extern const struct redis_script script_love_seed;      /* what MySQL has, put back */

extern const struct redis_script script_audience_log; /* chat: who came and went */
extern const struct redis_script script_export_trim;  /* archive: what is exported leaves its stream */

/* On the chat Redis. */
extern const struct redis_script script_chat_say;        /* chat */
extern const struct redis_script script_chat_append;     /* chat; whoever has an event for all viewers of a broadcast */
extern const struct redis_script script_chat_deliver;    /* live-api: what stands in its outbox, once */
extern const struct redis_script script_chat_room_join;  /* chat */
extern const struct redis_script script_chat_room_leave; /* chat */
extern const struct redis_script script_chat_room_of;    /* chat */
extern const struct redis_script script_chat_reap;       /* chat */
extern const struct redis_script script_chat_sync;       /* chat */
extern const struct redis_script script_chat_missed;     /* chat */
extern const struct redis_script script_chat_presence;   /* chat */
extern const struct redis_script script_comments_moved;  /* archive */
extern const struct redis_script script_audience_figures; /* archive, live-api */
