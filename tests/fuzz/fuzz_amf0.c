/* The AMF0 reader on any bytes: skipping, and reading value by value. */
#include "services/ingest/amf0.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct amf0_reader reader;
    struct amf0_value value;
    const char *name;
    size_t len;
    char text[16];

    amf0_reader_init(&reader, data, size);
    while (amf0_skip(&reader) == 0) {
    }
    if (reader.at > reader.end)
        abort();
    amf0_reader_init(&reader, data, size);
    while (amf0_read(&reader, &value) == 0) {
        amf0_copy_string(&value, text, sizeof(text));
        while (value.type == AMF0_OBJECT && amf0_read_member(&reader, &name, &len) == 1) {
            amf0_string_is(name, len, "app");
            if (amf0_skip(&reader) != 0)
                break;
        }
    }
    if (reader.at > reader.end)
        abort();
    return 0;
}
