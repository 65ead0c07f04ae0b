/* Messages of CHANNEL_BROADCAST and CHANNEL_STREAM: what is taken has a valid id and a known state. */
#include "proto/broadcast.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct broadcast_state_event state;
    struct stream_event stream;

    if (broadcast_state_event_parse((const char *)data, size, &state) == 0 &&
        (!id_is_valid(state.id) || broadcast_state_from_name(broadcast_state_name(state.state)) != state.state))
        abort();
    if (stream_event_parse((const char *)data, size, &stream) == 0 && !id_is_valid(stream.id))
        abort();
    return 0;
}
