/* One codec as a small GStreamer pipeline of its own: appsrc ! <description> ! appsink. Decoders, encoders and the JPEG
 * of a thumbnail are all one of these; each works on its own thread and posts what it makes to the loop (mailbox.h).
 * Loop thread only. Callbacks come from the loop, never before a call returns; they may destroy the pipe.
 *
 *     struct codec_pipe *pipe = codec_pipe_create(&options);
 *     codec_pipe_push(pipe, buffer, pts_us, dts_us);  …  on_sample
 *     codec_pipe_finish(pipe);                        …  the rest, then on_end */
#pragma once

#include "services/transcoder/mailbox.h"

#include <stdbool.h>
#include <stdint.h>

struct codec_pipe;

struct codec_pipe_options {
    const char *name;        /* for logs */
    const char *description; /* gst-launch syntax, what stands between appsrc and appsink */
    const char *caps;        /* of what is pushed */
    struct mailbox *mailbox;
    void (*on_sample)(struct codec_pipe *pipe, GstSample *sample, void *context); /* the sample stays the pipe's */
    void (*on_end)(struct codec_pipe *pipe, void *context);
    void (*on_error)(struct codec_pipe *pipe, const char *text, void *context); /* nothing more will come */
    void *context;
};

/* NULL: GStreamer cannot build it (an element is missing); `error` says why. */
struct codec_pipe *codec_pipe_create(const struct codec_pipe_options *options, char *error, size_t error_size);
void codec_pipe_destroy(struct codec_pipe *pipe); /* waits for its thread to stop; NULL is fine */
/* Takes the buffer. One with GST_BUFFER_FLAG_MARKER is to become an IDR frame. */
void codec_pipe_push(struct codec_pipe *pipe, GstBuffer *buffer, int64_t pts_us, int64_t dts_us);
/* The buffers pushed from now on are of this kind. */
void codec_pipe_set_caps(struct codec_pipe *pipe, GstCaps *caps);
/* Nothing more will be pushed: hand over what is inside. */
void codec_pipe_finish(struct codec_pipe *pipe);
/* Buffers pushed and not (yet) answered by a sample. */
int codec_pipe_in_flight(const struct codec_pipe *pipe);
/* Everything is decoded that can be: the queue is empty and nothing has come out for `quiet_ms`. */
bool codec_pipe_is_quiet(const struct codec_pipe *pipe, int64_t quiet_ms);
/* Takes what is in flight for answered: frames that a decoder swallowed. */
void codec_pipe_forgive(struct codec_pipe *pipe);

/* Times of a sample on the timeline it was pushed with (encoders shift theirs); -1 when it has none. */
int64_t codec_sample_pts_us(GstSample *sample);
int64_t codec_sample_dts_us(GstSample *sample);
