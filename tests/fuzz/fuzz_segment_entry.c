/* Whatever comes off the queue: a segment's entry, and the JSON state of a playlist. What is taken as an entry must
 * survive its way back through JSON, and must fit a playlist. */
#include "proto/segment_entry.h"
#include "services/segment-uploader/playlist.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_entry(const struct segment_entry *entry)
{
    static struct segment_entry again;
    struct playlist playlist, copy;
    char *json = segment_entry_encode(entry);

    if (!json || segment_entry_parse(json, strlen(json), &again) != 0 ||
        again.renditions_count != entry->renditions_count)
        abort();
    free(json);
    if (entry->final)
        return;
    playlist_init(&playlist);
    playlist_init(&copy);
    playlist_add(&playlist, entry, false);
    playlist_add(&playlist, entry, true);
    playlist_announce(&playlist);
    free(playlist_render_multivariant(&playlist));
    json = playlist_export(&playlist);
    if (!json || playlist_import(&copy, json, strlen(json)) != 0)
        abort();
    free(json);
    playlist_clear(&playlist);
    playlist_clear(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct segment_entry entry;
    struct playlist playlist;

    if (segment_entry_parse((const char *)data, size, &entry) == 0)
        use_entry(&entry);
    playlist_init(&playlist);
    if (playlist_import(&playlist, (const char *)data, size) == 0)
        for (int i = 0; i < playlist.renditions_count; i++)
            free(playlist_render_media(&playlist, i));
    playlist_clear(&playlist);
    return 0;
}
