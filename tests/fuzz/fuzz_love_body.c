/* A client's taps: what is read in place is what jansson finds in the same bytes. */
#include "services/love-counter/love_body.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct love_body body;
    json_t *json = NULL;
    const char *batch_id = NULL;
    json_int_t count = 0;

    if (!love_body_read((const char *)data, size, &body))
        return 0;
    json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    if (json_unpack(json, "{s:s,s:I!}", "batch_id", &batch_id, "count", &count) != 0)
        abort();
    if (strcmp(batch_id, body.batch_id) != 0 || count != body.count || count < 1 || count > LOVE_COUNT_MAX ||
        strlen(batch_id) < 1 || strlen(batch_id) > LOVE_BATCH_ID_MAX)
        abort();
    json_decref(json);
    return 0;
}
