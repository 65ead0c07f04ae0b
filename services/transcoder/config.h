/* The transcoder's variables: read by the supervisor, by its children (which inherit the environment) and by the file
 * mode. */
#pragma once

#include "libcommon/config.h"
#include "services/transcoder/engine.h"

struct transcoder_config {
    const char *redis_url, *media_redis_url;
    int64_t capacity;
    const char *backend, *ladder, *pass_through, *preset;
    int64_t lookahead, encoder_threads, max_rate, audio_kbps, pass_through_max_kbps;
    int64_t shed_lag_ms, skip_lag_ms;
};

extern const struct config_row transcoder_config_rows[];

/* 0, or -1 with a sentence: what config_load() cannot see. */
int transcoder_config_check(const struct transcoder_config *config, char *error, size_t error_size);
/* Fills everything but the loop and the callbacks. 0, or -1 with a sentence: the backend is not available here. After
 * gst_init() only. */
int transcoder_config_engine(const struct transcoder_config *config, struct engine_options *options, char *error,
                             size_t error_size);
