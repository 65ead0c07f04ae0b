/* One broadcast, from entries of the media ring to finished segments: looks at the source, decodes, paces, scales,
 * encodes, cuts. Knows no Redis: the child (child_main.c) and the file mode (file_main.c) feed it and take the
 * segments. Loop thread only; callbacks come from the loop, and from engine_push() and engine_pump(). */
#pragma once

#include "services/transcoder/backend.h"
#include "services/transcoder/checkpoint.h"
#include "services/transcoder/ladder.h"
#include "services/transcoder/media_entry.h"
#include "services/transcoder/segmenter.h"
#include "services/transcoder/video_stage.h"

struct event_base;
struct engine;

struct engine_segment {
    struct finished_segment *media;
    int64_t session, program_date_time_ms, arrived_ms;
    const uint8_t *thumbnail; /* JPEG, NULL when there is none */
    size_t thumbnail_len;
    const struct checkpoint *checkpoint; /* where to go on behind this segment */
};

struct engine_options {
    struct event_base *loop;
    const struct backend *backend;
    struct ladder ladder;
    const char *preset;
    int lookahead, encoder_threads;
    int max_rate; /* frames a second */
    int audio_kbps;
    bool pass_through; /* allowed */
    int64_t pass_through_max_kbps;
    void (*on_segment)(const struct engine_segment *segment, void *context);
    void (*on_room)(void *context);                    /* engine_wants_input() may have become true */
    void (*on_flushed)(void *context);                 /* after engine_flush(): nothing more will come */
    void (*on_error)(const char *text, void *context); /* the engine is of no use any more; called once */
    void *context;
};

struct engine_counts {
    struct video_stage_counts video;
    int64_t silence_ms, broken_tags, rebases;
    bool is_idle; /* nothing is open */
};

struct engine *engine_create(const struct engine_options *options);
void engine_destroy(struct engine *engine);
/* Goes on where a predecessor stopped; before the first entry. The first one pushed should be `position` (in_session)
 * or what follows it. */
void engine_resume(struct engine *engine, const struct checkpoint *checkpoint);
/* Begins later on the output timeline, with a discontinuity: what came before is not known any more. */
void engine_begin_at(struct engine *engine, int64_t number, int64_t start_us);
bool engine_wants_input(const struct engine *engine);
/* Takes the entry. Entries are pushed in order; any number, but politely only while engine_wants_input(). */
void engine_push(struct engine *engine, struct media_entry *entry);
/* Closes what is open and hands it over; then on_flushed. `is_session_end`: a new session follows; else the same one
 * may go on, and the engine's successor resumes from the last checkpoint. */
void engine_flush(struct engine *engine, bool is_session_end);
/* Where to go on after the flush; valid until the next call. NULL while nothing has ever been made. */
const struct checkpoint *engine_checkpoint(struct engine *engine);
void engine_set_effort(struct engine *engine, enum video_effort effort);
struct engine_counts engine_get_counts(const struct engine *engine);
