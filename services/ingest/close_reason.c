/* See close_reason.h. The codes are those that encoders know; the description is what they show. */
#include "services/ingest/close_reason.h"

#include <assert.h>
#include <stddef.h>

static const struct close_reason_text texts[CLOSE_REASONS] = {
    [CLOSE_NONE] = {"none", NULL, ""},
    [CLOSE_UNKNOWN_APP] = {"unknown_app", "NetConnection.Connect.InvalidApp", "There is no application of this name."},
    [CLOSE_BAD_KEY] = {"bad_key", "NetStream.Publish.BadName", "No broadcast has this stream key."},
    [CLOSE_KEY_IN_USE] = {"key_in_use", "NetStream.Publish.BadName",
                          "This stream key is in use: another encoder is sending."},
    [CLOSE_UNAVAILABLE] = {"unavailable", "NetStream.Publish.Failed",
                           "Temporarily unavailable, try again in a moment."},
    [CLOSE_TOO_MANY_CONNECTIONS] = {"too_many_connections", "NetConnection.Connect.Rejected",
                                    "The server is full, try again in a moment."},
    [CLOSE_TOO_MANY_FROM_ADDRESS] = {"too_many_from_address", "NetConnection.Connect.Rejected",
                                     "Too many connections from this address."},
    [CLOSE_HANDSHAKE_TIMEOUT] = {"handshake_timeout", NULL, "No handshake and connect in time."},
    [CLOSE_HANDSHAKE_INVALID] = {"handshake_invalid", NULL, "Not an RTMP handshake."},
    [CLOSE_VIDEO_CODEC] = {"video_codec", "NetStream.Publish.Rejected",
                           "Unsupported video codec: please send H.264 (AVC)."},
    [CLOSE_AUDIO_CODEC] = {"audio_codec", "NetStream.Publish.Rejected", "Unsupported audio codec: please send AAC."},
    [CLOSE_BAD_MEDIA] = {"bad_media", "NetStream.Publish.Rejected",
                         "Broken media: a size field in a frame or a sequence header does not fit."},
    [CLOSE_PICTURE_SIZE] = {"picture_size", "NetStream.Publish.Rejected",
                            "The picture is larger than this server takes: please choose a lower resolution."},
    [CLOSE_BITRATE] = {"bitrate", "NetStream.Publish.Rejected", "The bitrate is above the limit of this server."},
    [CLOSE_NO_KEYFRAME] = {"no_keyframe", "NetStream.Publish.Rejected",
                           "No key frame for too long: please set a key frame interval of 2 seconds."},
    [CLOSE_MESSAGE_SIZE] = {"message_size", "NetConnection.Connect.Rejected",
                            "A message is larger than this server accepts."},
    [CLOSE_CHUNK_SIZE] = {"chunk_size", "NetConnection.Connect.Rejected", "The chunk size is outside the limits."},
    [CLOSE_BUFFERED] = {"buffered", "NetConnection.Connect.Rejected", "Too many unfinished messages at once."},
    [CLOSE_PROTOCOL] = {"protocol", "NetConnection.Connect.Rejected", "This does not follow the RTMP protocol."},
    [CLOSE_IDLE] = {"idle", "NetConnection.Connect.IdleTimeOut", "Nothing was received for too long."},
    [CLOSE_NOT_READING] = {"not_reading", NULL, "The client does not read what it is sent."},
    [CLOSE_REPLACED] = {"replaced", "NetStream.Publish.BadName",
                        "Another connection has taken this broadcast over after a silence."},
    [CLOSE_BROADCAST_ENDED] = {"ended", "NetStream.Unpublish.Success", "The broadcast has ended."},
    [CLOSE_DRAINING] = {"draining", "NetConnection.Connect.Closed", "The server is restarting, connect again."},
    [CLOSE_UNPUBLISHED] = {"closed", "NetStream.Unpublish.Success", "Stopped."},
    [CLOSE_LOST] = {"publisher_gone", NULL, "The connection was lost."},
};

const struct close_reason_text *close_reason_text(enum close_reason reason)
{
    assert(reason >= 0 && reason < CLOSE_REASONS && texts[reason].name);
    return &texts[reason];
}
