#include "libcommon/log.h"
#include "libcommon/service.h"
#include "services/transcoder/child_main.h"
#include "services/transcoder/file_main.h"
#include "services/transcoder/supervisor.h"

#include <malloc.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
/* GLib lets go of its table of names each time that it grows, on purpose. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libglib-2.0\n";
}
#endif

struct transcoder {
    struct transcoder_config config;
    struct supervisor *supervisor;
};

static int start(struct service *service, void *state)
{
    struct transcoder *transcoder = state;
    char error[256];

    if (transcoder_config_check(&transcoder->config, error, sizeof(error)) != 0) {
        log_error("start.failed", log_str("why", error));
        return -1;
    }
    transcoder->supervisor = supervisor_create(service, &transcoder->config);
    return transcoder->supervisor ? 0 : -1;
}

static void drain(struct service *service, void *state)
{
    const struct transcoder *transcoder = state;

    supervisor_drain(transcoder->supervisor);
}

static void stop(struct service *service, void *state)
{
    const struct transcoder *transcoder = state;

    supervisor_destroy(transcoder->supervisor);
}

/* Everything that runs in a process of its own is another face of this program. */
int main(int argc, char **argv)
{
    static struct transcoder transcoder;
    const struct service_definition definition = {
        .name = "transcoder",
        .summary =
            "makes the ladder of HLS segments of every broadcast; `transcoder file in.flv outdir` does it for a file",
        .config_rows = transcoder_config_rows,
        .config = &transcoder.config,
        .state = &transcoder,
        .start = start,
        .drain = drain,
        .stop = stop,
    };

    /* Pictures and segments come and go by the megabyte: without this each costs a mapping and its page faults. */
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return child_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "probe") == 0)
        return probe_main();
    if (argc > 1 && strcmp(argv[1], "file") == 0)
        return file_main(argc, argv);
    return service_main(&definition, argc, argv);
}
