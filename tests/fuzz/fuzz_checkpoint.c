/* Where a transcoder's predecessor stopped, as Redis says it; what is taken is gone on with. */
#include "services/transcoder/checkpoint.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct checkpoint checkpoint, again;
    struct timeline_stamp stamp;

    if (checkpoint_parse((const char *)data, size, &checkpoint) != 0)
        return 0;
    char *text = checkpoint_encode(&checkpoint);
    assert(!text || checkpoint_parse(text, strlen(text), &again) == 0);
    free(text);
    for (uint32_t i = 0; i < 8; i++)
        timeline_map(&checkpoint.timeline, i % 2 ? TIMELINE_AUDIO : TIMELINE_VIDEO, i * 0x30000000u, (int32_t)i * 40,
                     1700000000000000 + i, &stamp);
    timeline_begin_session(&checkpoint.timeline, timeline_end_us(&checkpoint.timeline), NULL);
    timeline_map(&checkpoint.timeline, TIMELINE_VIDEO, 7, 0, 1700000000000000, &stamp);
    return 0;
}
