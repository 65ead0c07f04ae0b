#include "services/transcoder/config.h"

#include "libcommon/redis_link.h"

#include <stdio.h>
#include <string.h>

static const char *const backends[] = {"auto", "cpu", "nvidia", NULL};
static const char *const pass_through[] = {"off", "auto", NULL};
static const char *const presets[] = {"ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", NULL};

#define FIELD(name) .offset = offsetof(struct transcoder_config, name)

const struct config_row transcoder_config_rows[] = {
    {"HANABI_REDIS_URL", CONFIG_URL, "redis://127.0.0.1:6379", "state Redis", REDIS_LINK_URL, FIELD(redis_url)},
    {"HANABI_MEDIA_REDIS_URL", CONFIG_URL, "", "media Redis (empty: the state Redis)", REDIS_LINK_URL,
     FIELD(media_redis_url)},
    {"HANABI_TRANSCODER_CAPACITY", CONFIG_INT, "0", "broadcasts at the same time (0: two per core)", .min = 0,
     .max = 1000, FIELD(capacity)},
    {"HANABI_TRANSCODER_BACKEND", CONFIG_CHOICE, "auto", "what decodes, scales and encodes", .choices = backends,
     FIELD(backend)},
    {"HANABI_LADDER", CONFIG_STRING, "720p:2500,480p:1200,360p:700,240p:350",
     "rungs: short side in pixels, video bitrate in kbit/s", FIELD(ladder)},
    {"HANABI_PASSTHROUGH", CONFIG_CHOICE, "off", "auto: the source itself as top rung, when its GOPs allow it",
     .choices = pass_through, FIELD(pass_through)},
    {"HANABI_PASSTHROUGH_MAX_KBPS", CONFIG_INT, "6000", "a source above this is never passed through (kbit/s)",
     .min = 100, .max = 100000, FIELD(pass_through_max_kbps)},
    {"HANABI_TRANSCODER_PRESET", CONFIG_CHOICE, "veryfast", "x264's speed against quality", .choices = presets,
     FIELD(preset)},
    {"HANABI_TRANSCODER_LOOKAHEAD", CONFIG_INT, "5", "frames an encoder may hold back for quality", .min = 0, .max = 40,
     FIELD(lookahead)},
    {"HANABI_TRANSCODER_THREADS", CONFIG_INT, "1", "threads of each rung's encoder", .min = 1, .max = 64,
     FIELD(encoder_threads)},
    {"HANABI_TRANSCODER_MAX_RATE", CONFIG_INT, "30", "frames a second at most; a faster source is divided", .min = 5,
     .max = 120, FIELD(max_rate)},
    {"HANABI_TRANSCODER_AUDIO_KBPS", CONFIG_INT, "128", "bitrate of the sound (kbit/s)", .min = 32, .max = 320,
     FIELD(audio_kbps)},
    {"HANABI_TRANSCODER_SHED_LAG_MS", CONFIG_INT, "4000", "behind by more, and not catching up: do less work (ms)",
     .min = 500, .max = 14000, FIELD(shed_lag_ms)},
    {"HANABI_TRANSCODER_SKIP_LAG_MS", CONFIG_INT, "10000", "behind by more: skip ahead, with a discontinuity (ms)",
     .min = 1000, .max = 14000, FIELD(skip_lag_ms)},
    CONFIG_END,
};

int transcoder_config_check(const struct transcoder_config *config, char *error, size_t error_size)
{
    struct ladder ladder;

    if (ladder_parse(config->ladder, &ladder) == 0)
        return 0;
    snprintf(error, error_size, "HANABI_LADDER: \"%s\" is no list like \"720p:2500,480p:1200\"", config->ladder);
    return -1;
}

int transcoder_config_engine(const struct transcoder_config *config, struct engine_options *options, char *error,
                             size_t error_size)
{
    if (transcoder_config_check(config, error, error_size) != 0 || ladder_parse(config->ladder, &options->ladder) != 0)
        return -1;
    options->backend = backend_choose(config->backend);
    options->preset = config->preset;
    options->lookahead = (int)config->lookahead;
    options->encoder_threads = (int)config->encoder_threads;
    options->max_rate = (int)config->max_rate;
    options->audio_kbps = (int)config->audio_kbps;
    options->pass_through = strcmp(config->pass_through, "auto") == 0;
    options->pass_through_max_kbps = config->pass_through_max_kbps;
    if (options->backend)
        return 0;
    snprintf(error, error_size, "HANABI_TRANSCODER_BACKEND: GStreamer has not what \"%s\" needs here", config->backend);
    return -1;
}
