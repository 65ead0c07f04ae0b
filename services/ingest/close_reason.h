/* Why a publisher is refused or closed: one list for the status it is sent, the log line, the counter and the end entry
 * of the ring, so that all four say the same. */
#pragma once

enum close_reason {
    CLOSE_NONE,
    /* refused before it published */
    CLOSE_UNKNOWN_APP,
    CLOSE_BAD_KEY,
    CLOSE_KEY_IN_USE,
    CLOSE_UNAVAILABLE,
    CLOSE_TOO_MANY_CONNECTIONS,
    CLOSE_TOO_MANY_FROM_ADDRESS,
    CLOSE_HANDSHAKE_TIMEOUT,
    CLOSE_HANDSHAKE_INVALID,
    /* what it sent */
    CLOSE_VIDEO_CODEC,
    CLOSE_AUDIO_CODEC,
    CLOSE_BAD_MEDIA,
    CLOSE_PICTURE_SIZE,
    CLOSE_BITRATE,
    CLOSE_NO_KEYFRAME,
    CLOSE_MESSAGE_SIZE,
    CLOSE_CHUNK_SIZE,
    CLOSE_BUFFERED,
    CLOSE_PROTOCOL,
    CLOSE_IDLE,
    CLOSE_NOT_READING,
    /* what happened elsewhere */
    CLOSE_REPLACED,
    CLOSE_BROADCAST_ENDED,
    CLOSE_DRAINING,
    /* its own doing */
    CLOSE_UNPUBLISHED,
    CLOSE_LOST,
    CLOSE_REASONS,
};

struct close_reason_text {
    const char *name;        /* label of the counters, `e` of the ring */
    const char *code;        /* of the onStatus; NULL: nothing is said */
    const char *description; /* a sentence for whoever sits at the encoder */
};

const struct close_reason_text *close_reason_text(enum close_reason reason);
