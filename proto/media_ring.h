/* The media hand-off: a publisher's last ~15 s as a Redis stream at KEY_MEDIA_RING<broadcast> on the media Redis,
 * written by one ingest session, read by one transcoder child.
 *
 * An entry is a group of FLV tags (proto/flv.h) that arrived within MEDIA_RING_GROUP_MS; the entry's id is the media
 * Redis' time of arrival in ms. A video key frame always begins an entry, and that entry begins with the sequence
 * headers then valid (onMetaData, AVC sequence header, AAC sequence header, each if known), so a reader can start at
 * any entry with `k`. Without video every entry is such a start.
 *
 *   s  session (decimal)
 *   k  "1": a reader may start here
 *   d  the FLV tags: 11 bytes of header, the body, 4 bytes of PreviousTagSize; timestamps as the publisher sent them
 * (32 bits, ms); absent in an end entry g  "1": media was dropped by ingest in front of this entry (Redis was away or
 * slow); the entry has `k` e  why the session ended ("closed", "replaced", …): the last entry of the session. A killed
 * ingest writes none. */
#pragma once

#define MEDIA_RING_GROUP_MS 100
#define MEDIA_RING_DEPTH_MS 15000
/* XADD … MAXLEN ~ : the depth, and room for groups that a key frame cut short. */
#define MEDIA_RING_MAX_GROUPS 220
/* The whole ring goes this long after the last entry: later than any part of a segment. A media Redis that is full
 * (volatile-ttl) drops what expires first: parts that stand in the store, then others, and rings last. */
#define MEDIA_RING_EXPIRE_S 300

#define MEDIA_RING_SESSION "s"
#define MEDIA_RING_KEY     "k"
#define MEDIA_RING_DATA    "d"
#define MEDIA_RING_GAP     "g"
#define MEDIA_RING_END     "e"
