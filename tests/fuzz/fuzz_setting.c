/* A setting that has changed, as it comes over its channel. */
#include "proto/setting.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct setting_event event, again;

    if (setting_event_parse((const char *)data, size, &event) != 0)
        return 0;
    if (event.kind) {
        char *text = setting_event_encode(&event);

        /* What is taken can be said again, and is the same. */
        if (!text || setting_event_parse(text, strlen(text), &again) != 0 || again.kind != event.kind ||
            again.version != event.version || strcmp(again.subject, event.subject) != 0 ||
            strcmp(again.object, event.object) != 0 || json_equal(again.value, event.value) != (event.value != NULL))
            abort();
        setting_event_clear(&again);
        free(text);
    }
    setting_event_clear(&event);
    return 0;
}
