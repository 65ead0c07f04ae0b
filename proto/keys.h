/* Every Redis key and channel of Hanabi. Nothing else spells one; the Lua scripts in proto/lua take these names too
 * (`$KEY_BROADCAST` in a script is replaced by the value of the macro here when the project is built).
 *
 * A macro that ends in a colon-terminated prefix is completed by an id: see KEY_MAX and key_of().
 * Two instances of Redis, by configuration (they may be the same one): *state* holds what is small and must not be
 * lost, *media* holds bytes that are worthless in a minute, so that video never slows chat. */
#pragma once

#include <stdio.h>

/* ---- state Redis ---- */

/* hash, one per broadcast that is not long over: the fields of proto/broadcast.h. Changed by the scripts only. */
#define KEY_BROADCAST "hanabi:broadcast:"
/* sorted set: ids of all KEY_BROADCAST hashes, by time of the last change of state (ms) */
#define KEY_BROADCASTS "hanabi:broadcasts"
/* set: ids whose state has changed and does not stand in MySQL yet; emptied by live-api */
#define KEY_BROADCASTS_UNSAVED "hanabi:broadcasts:unsaved"
/* string: live-api has put all broadcasts of MySQL that are not over into this Redis; absent: Redis came back empty */
#define KEY_BROADCASTS_RESTORED "hanabi:broadcasts:restored"
/* string: SHA-256 of a stream key in hex -> broadcast id; whether it is still the key, the broadcast's hash says */
#define KEY_STREAM_KEY "hanabi:stream_key:"
/* sorted set: live broadcasts, by when they count as silent (ms on Redis' clock) */
#define KEY_WATCH_SILENCE "hanabi:watch:silence"
/* sorted set: suspended broadcasts, by when their grace ends (ms on Redis' clock) */
#define KEY_WATCH_GRACE "hanabi:watch:grace"
/* sorted set: broadcasts whose media a transcoder has to work on, by time of announcement (ms); left at the end marker
 */
#define KEY_STREAMS "hanabi:streams"
/* sorted set: broadcasts with segments to upload, by time of the first one (ms); left when the playlist is closed */
#define KEY_UPLOADS "hanabi:uploads"
/* hash {holder, token, …}, see libcommon/lease.h */
#define KEY_LEASE_TRANSCODER "hanabi:lease:transcoder:"
#define KEY_LEASE_UPLOADER   "hanabi:lease:uploader:"
#define KEY_LEASE_ARCHIVING  "hanabi:lease:archiving:"
#define KEY_LEASE_EXPORT     "hanabi:lease:export:"
/* counter that gives the fencing tokens of all leases */
#define KEY_FENCE "hanabi:fence"
/* string (JSON, private to the transcoder): where the next transcoder of this broadcast goes on */
#define KEY_CHECKPOINT "hanabi:checkpoint:"
/* stream of finished segments, field "e" = proto/segment_entry.h as JSON; consumer group SEGMENTS_GROUP */
#define KEY_SEGMENTS "hanabi:segments:"
/* string (JSON, private to the uploader): the live playlist's window and counters */
#define KEY_PLAYLIST "hanabi:playlist:"

#define SEGMENTS_GROUP "uploader"
/* One consumer for all uploaders: the lease says who it is, so a successor finds the predecessor's pending entries. */
#define SEGMENTS_CONSUMER "owner"

/* Hearts of a broadcast, all made by script_love_add and freed by script_love_settled. While KEY_LOVE<id> exists, MySQL
 * may not have everything yet; a broadcast that is over and has none has its hearts in MySQL (or never had any).
 * hash {total, published, seeding}: taps, and those that were last told to the chat; while `seeding` is there, what
 * MySQL has is missing from them, for the users behind this one */
#define KEY_LOVE "hanabi:love:total:"
/* sorted set: user -> taps */
#define KEY_LOVE_RANKING "hanabi:love:ranking:"
/* hash: user -> name */
#define KEY_LOVE_NAMES "hanabi:love:names:"
/* set: users whose taps have changed since they were written to MySQL */
#define KEY_LOVE_CHANGED "hanabi:love:changed:"
/* list: "<ms>:<total>", about one a second while taps come, until they stand in MySQL */
#define KEY_LOVE_TICKS "hanabi:love:ticks:"
/* hash: user -> "<taps left>:<ms>:<batches left>", the rate caps */
#define KEY_LOVE_RATE "hanabi:love:rate:"
/* hash with expiry, completed by "<broadcast>:<window>": "<user>|<batch_id>" -> "<accepted>:<total>", so that a batch
 * that is sent again is answered again and not counted again */
#define KEY_LOVE_BATCHES "hanabi:love:batches:"
/* sorted set: broadcasts with hearts in Redis, by time of the first one (ms) */
#define KEY_LOVE_ACTIVE "hanabi:love:active"
/* string: what MySQL had of broadcasts on air is marked for script_love_seed; absent: Redis came back empty */
#define KEY_LOVE_RESTORED "hanabi:love:restored"
/* hash {holder, token, …}, see libcommon/lease.h: who tells the chat and writes to MySQL */
#define KEY_LEASE_LOVE "hanabi:lease:love:"

/* stream: every change of a broadcast's state, field "e" = a JSON object {"broadcast","type":"state","at_ms","state",
 * "version","reason"}, until archive has exported it; at most about EXPORT_STATES_MAX, the oldest go first */
#define KEY_EXPORT_STATES "hanabi:export:states"
#define EXPORT_STATES_MAX 100000

/* stream: viewers who came and went, field "e" = JSON objects, a line each, see proto/chat.h; until archive has
 * exported them. Bounded by the count of its bytes: what would be too much is refused */
#define KEY_EXPORT_AUDIENCE "hanabi:export:audience"
/* string: bytes that wait there */
#define KEY_EXPORT_AUDIENCE_BYTES "hanabi:export:audience:bytes"
/* string with expiry, by writer: number of its last batch there */
#define KEY_EXPORT_AUDIENCE_WRITER "hanabi:export:audience:writer:"

/* ---- media Redis ---- */

/* stream: the last ~15 s of a publisher's media; fields: see proto/media_ring.h */
#define KEY_MEDIA_RING "hanabi:media:ring:"
/* string with expiry: the bytes of one part of a segment (today a segment has one part), or a thumbnail (JPEG);
 * completed by "<broadcast>:<whatever the transcoder makes unique>"; named in the segment's entry */
#define KEY_MEDIA_PART "hanabi:media:part:"

/* ---- chat Redis (by configuration; may be the state Redis, or several: what belongs to a broadcast is on the one of
 * redis_shard_of(), see libcommon/redis_shards.h) ---- */

/* stream, one per broadcast: every accepted comment and system event, in order; fields: see proto/chat.h. An entry's id
 * is the event's id. Appended and published by one script, before the acknowledgement. */
#define KEY_CHAT_LOG "hanabi:chat:log:"
/* sorted set: broadcasts whose log may hold what MySQL does not have yet, by time of the last append (ms) */
#define KEY_CHAT_MOVING "hanabi:chat:moving"
/* hash, one per broadcast: "<room>" -> connections in the room, "<room>|<instance>" -> connections that instance has in
 * it */
#define KEY_CHAT_ROOMS "hanabi:chat:rooms:"
/* set: broadcasts in which an instance has connections, so that a dead instance's places can be given back */
#define KEY_CHAT_INSTANCE "hanabi:chat:instance:"
/* hash: instance -> its ping channel */
#define KEY_CHAT_INSTANCES "hanabi:chat:instances"
/* HyperLogLog: viewers that ever joined a broadcast */
#define KEY_CHAT_UNIQUE "hanabi:chat:unique:"
/* hash, completed by "<broadcast>:<minute since 1970>": key of what a client said in it -> its event's id, so that a
 * comment that is sent again is not said twice; see chat_said_key() in proto/chat.h */
#define KEY_CHAT_SAID "hanabi:chat:said:"
/* hash, one per broadcast: reconnect and duplicate bookkeeping, see proto/chat.h */
#define KEY_CHAT_STATE "hanabi:chat:state:"

/* set, one per broadcast: ids of live-api's outbox that stand in the log and may still have their row in MySQL */
#define KEY_CHAT_DELIVERED "hanabi:chat:delivered:"
/* string: id of the last entry of a broadcast's log that stands in MySQL; kept by the batch in `archive` */
#define KEY_CHAT_MOVED "hanabi:chat:moved:"
/* hash {holder, token, …}, see libcommon/lease.h: who moves a broadcast's log */
#define KEY_LEASE_ARCHIVE "hanabi:lease:archive:"

/* ---- channels (all on the state Redis, except chat's on the chat Redis) ---- */

/* every change of a broadcast's state: {"type":"state","id","state","version","at_ms","reason"} */
#define CHANNEL_BROADCAST "hanabi:broadcast"
/* {"type":"stream.opened","id","session","ingest"}; {"type":"stream.replaced","id","session","ingest"}: the session
 * that was replaced and the ingest that has it; {"type":"stream.closed","id","session"} */
#define CHANNEL_STREAM "hanabi:stream"
/* {"type":"segment.queued","id"} */
#define CHANNEL_SEGMENT_QUEUED "hanabi:segment.queued"
/* {"type":"segment.published","id","sequence","duration_ms","discontinuity"}: can be fetched, playlist included */
#define CHANNEL_SEGMENT_PUBLISHED "hanabi:segment.published"
/* {"type":"broadcast.live","id","title","owner":{"id","name"},"playback_url","at_ms"}: at the first live of a
 * broadcast; at least once */
#define CHANNEL_ANNOUNCE "hanabi:announce"
/* completed by "<broadcast>:<room>": a JSON array of events for the viewers of one room */
#define CHANNEL_CHAT_ROOM "hanabi:chat:room:"
/* completed by the broadcast: a JSON array of events for all its rooms (gifts, the broadcaster, deletions, system) */
#define CHANNEL_CHAT_ALL "hanabi:chat:all:"
/* every change of a setting, see proto/setting.h */
#define CHANNEL_SETTING "hanabi:setting"
/* completed by the instance: the subscriber's own ping */
#define CHANNEL_PING "hanabi:ping:"

#define KEY_MAX 256

/* "<prefix><id>" into `out`; returns `out`. Ids are at most 64 characters, see id_is_valid() in proto/broadcast.h. */
static inline const char *key_of(char out[KEY_MAX], const char *prefix, const char *id)
{
    snprintf(out, KEY_MAX, "%s%s", prefix, id);
    return out;
}
