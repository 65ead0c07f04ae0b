/* What somebody looks for, and titles: any UTF-8. */
#include "libcommon/utf8.h"
#include "services/live-api/search.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct search_query query = {0};
    char *text;

    if (size > SEARCH_QUERY_MAX_CHARS * 4)
        return 0;
    text = strndup((const char *)data, size);
    if (!text)
        abort();
    if (utf8_is_valid(text)) {
        char *normalised = search_normalise(text), *grams = search_grams(normalised, false);

        assert(utf8_is_valid(normalised));
        assert(grams[strspn(grams, "0123456789abcdefg ")] == '\0');
        free(grams);
        free(normalised);
        (void)search_query_init(&query, text);
        for (size_t i = 0; i < query.word_count; i++) {
            grams = search_grams(query.words[i], true);
            assert(grams[strspn(grams, "0123456789abcdefg +*")] == '\0');
            free(grams);
        }
        search_query_clear(&query);
    }
    free(text);
    return 0;
}
