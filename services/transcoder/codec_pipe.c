/* appsrc and appsink around a codec. The codec's thread is appsrc's: it decodes or encodes, and calls on_new_sample. */
#include "services/transcoder/codec_pipe.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"

#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>
#include <gst/video/video.h>
#include <stdio.h>

struct codec_pipe {
    struct codec_pipe_options options;
    GstElement *pipeline;
    GstAppSrc *source;
    GstAppSink *sink;
    int in_flight;
    int64_t active_ms; /* something was pushed or came out */
    bool failed;
};

static void deliver(void *receiver, const struct mail *mail)
{
    struct codec_pipe *pipe = receiver;

    switch (mail->kind) {
    case MAIL_SAMPLE:
        if (pipe->in_flight > 0)
            pipe->in_flight--;
        pipe->active_ms = clock_monotonic_ms();
        pipe->options.on_sample(pipe, mail->sample, pipe->options.context);
        gst_sample_unref(mail->sample);
        break;
    case MAIL_END:
        pipe->options.on_end(pipe, pipe->options.context);
        break;
    case MAIL_ERROR:
        if (!pipe->failed) {
            pipe->failed = true;
            pipe->options.on_error(pipe, mail->text, pipe->options.context);
        }
        break;
    }
}

static GstFlowReturn on_new_sample(GstAppSink *sink, gpointer context)
{
    struct codec_pipe *pipe = context;
    GstSample *sample = gst_app_sink_pull_sample(sink);

    if (sample)
        mailbox_post(pipe->options.mailbox, deliver, pipe, MAIL_SAMPLE, sample, NULL);
    return GST_FLOW_OK;
}

static void on_eos(GstAppSink *sink, gpointer context)
{
    struct codec_pipe *pipe = context;

    mailbox_post(pipe->options.mailbox, deliver, pipe, MAIL_END, NULL, NULL);
}

static GstBusSyncReply on_bus_message(GstBus *bus, GstMessage *message, gpointer context)
{
    struct codec_pipe *pipe = context;

    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
        GError *error = NULL;
        gst_message_parse_error(message, &error, NULL);
        mailbox_post(pipe->options.mailbox, deliver, pipe, MAIL_ERROR, NULL, error ? error->message : "unknown");
        g_clear_error(&error);
    }
    gst_message_unref(message);
    return GST_BUS_DROP;
}

/* Without this a decoder believes that strides confuse us, and copies every picture. */
static GstPadProbeReturn on_query(GstPad *pad, GstPadProbeInfo *info, gpointer context)
{
    GstQuery *query = GST_PAD_PROBE_INFO_QUERY(info);

    if (GST_QUERY_TYPE(query) != GST_QUERY_ALLOCATION)
        return GST_PAD_PROBE_OK;
    gst_query_add_allocation_meta(query, GST_VIDEO_META_API_TYPE, NULL);
    return GST_PAD_PROBE_HANDLED;
}

/* Exactly in front of the marked frame. Without a time: encoders that shift theirs (x264enc, by 1,000 hours) compare it
 * with the wrong one. */
static GstPadProbeReturn on_pushed(GstPad *pad, GstPadProbeInfo *info, gpointer context)
{
    if (gst_buffer_has_flags(GST_PAD_PROBE_INFO_BUFFER(info), GST_BUFFER_FLAG_MARKER))
        gst_pad_push_event(pad, gst_video_event_new_downstream_force_key_unit(GST_CLOCK_TIME_NONE, GST_CLOCK_TIME_NONE,
                                                                              GST_CLOCK_TIME_NONE, TRUE, 0));
    return GST_PAD_PROBE_OK;
}

static void watch(struct codec_pipe *pipe)
{
    GstAppSinkCallbacks callbacks = {.eos = on_eos, .new_sample = on_new_sample};
    GstBus *bus = gst_element_get_bus(pipe->pipeline);
    GstPad *pad = gst_element_get_static_pad(GST_ELEMENT(pipe->sink), "sink");

    gst_app_sink_set_callbacks(pipe->sink, &callbacks, pipe, NULL);
    gst_bus_set_sync_handler(bus, on_bus_message, pipe, NULL);
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM, on_query, NULL, NULL);
    gst_object_unref(pad);
    pad = gst_element_get_static_pad(GST_ELEMENT(pipe->source), "src");
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, on_pushed, NULL, NULL);
    gst_object_unref(pad);
    gst_object_unref(bus);
}

struct codec_pipe *codec_pipe_create(const struct codec_pipe_options *options, char *error, size_t error_size)
{
    struct codec_pipe *pipe = alloc_zero(1, sizeof(*pipe));
    GError *why = NULL;
    char *text = NULL;
    GstCaps *caps = gst_caps_from_string(options->caps);

    if (asprintf(&text,
                 "appsrc name=in format=time max-bytes=0 max-buffers=0 max-time=0 ! %s ! "
                 "appsink name=out sync=false async=false enable-last-sample=false",
                 options->description) < 0)
        abort();
    pipe->options = *options;
    pipe->active_ms = clock_monotonic_ms();
    pipe->pipeline = gst_parse_launch_full(text, NULL, GST_PARSE_FLAG_FATAL_ERRORS, &why);
    free(text);
    if (!pipe->pipeline || !caps)
        goto failed;
    pipe->source = GST_APP_SRC(gst_bin_get_by_name(GST_BIN(pipe->pipeline), "in"));
    pipe->sink = GST_APP_SINK(gst_bin_get_by_name(GST_BIN(pipe->pipeline), "out"));
    gst_app_src_set_caps(pipe->source, caps);
    gst_clear_caps(&caps);
    watch(pipe);
    if (gst_element_set_state(pipe->pipeline, GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE)
        return pipe;
failed:
    snprintf(error, error_size, "%s: %s", options->name, why ? why->message : "cannot start");
    g_clear_error(&why);
    gst_clear_caps(&caps);
    codec_pipe_destroy(pipe);
    return NULL;
}

void codec_pipe_destroy(struct codec_pipe *pipe)
{
    if (!pipe)
        return;
    if (pipe->pipeline) {
        gst_element_set_state(pipe->pipeline, GST_STATE_NULL);
        mailbox_forget(pipe->options.mailbox, pipe);
        g_clear_object(&pipe->source);
        g_clear_object(&pipe->sink);
        gst_object_unref(pipe->pipeline);
    }
    free(pipe);
}

void codec_pipe_push(struct codec_pipe *pipe, GstBuffer *buffer, int64_t pts_us, int64_t dts_us)
{
    GST_BUFFER_PTS(buffer) = (GstClockTime)pts_us * GST_USECOND;
    GST_BUFFER_DTS(buffer) = (GstClockTime)dts_us * GST_USECOND;
    pipe->in_flight++;
    pipe->active_ms = clock_monotonic_ms();
    gst_app_src_push_buffer(pipe->source, buffer);
}

void codec_pipe_set_caps(struct codec_pipe *pipe, GstCaps *caps)
{
    gst_app_src_set_caps(pipe->source, caps);
}

void codec_pipe_finish(struct codec_pipe *pipe)
{
    gst_app_src_end_of_stream(pipe->source);
}

int codec_pipe_in_flight(const struct codec_pipe *pipe)
{
    return pipe->in_flight;
}

bool codec_pipe_is_quiet(const struct codec_pipe *pipe, int64_t quiet_ms)
{
    return gst_app_src_get_current_level_buffers(pipe->source) == 0 &&
           clock_monotonic_ms() - pipe->active_ms >= quiet_ms;
}

void codec_pipe_forgive(struct codec_pipe *pipe)
{
    pipe->in_flight = 0;
}

static int64_t running_time_us(GstSample *sample, GstClockTime time)
{
    guint64 running = 0;

    if (!GST_CLOCK_TIME_IS_VALID(time))
        return -1;
    const int sign = gst_segment_to_running_time_full(gst_sample_get_segment(sample), GST_FORMAT_TIME, time, &running);
    return sign == 0 ? -1 : sign * (int64_t)((running + GST_USECOND / 2) / GST_USECOND);
}

int64_t codec_sample_pts_us(GstSample *sample)
{
    return running_time_us(sample, GST_BUFFER_PTS(gst_sample_get_buffer(sample)));
}

int64_t codec_sample_dts_us(GstSample *sample)
{
    return running_time_us(sample, GST_BUFFER_DTS(gst_sample_get_buffer(sample)));
}
