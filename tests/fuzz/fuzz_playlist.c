/* The uploader's own state as Redis gives it back, and its own playlists as the store does: whoever can write there can
 * write anything. What is taken goes on as if it had always been ours. */
#include "services/segment-uploader/playlist.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void render(struct playlist *playlist)
{
    for (int i = 0; i < playlist->renditions_count; i++) {
        free(playlist_render_media(playlist, i));
        (void)playlist_average_bps(&playlist->renditions[i]);
    }
    free(playlist_render_multivariant(playlist));
}

/* One more segment of the first rendition, and back through Redis. */
static void go_on(struct playlist *playlist)
{
    struct segment_entry entry = {
        .session = 1, .number = 1, .program_date_time_ms = 1700000000000, .duration_us = 2000000};
    struct playlist again;
    char *state;

    entry.renditions_count = 1;
    strcpy(entry.renditions[0].name, playlist->renditions_count > 0 ? playlist->renditions[0].name : "720p");
    strcpy(entry.renditions[0].codecs, "avc1.64001f,mp4a.40.2");
    entry.renditions[0].parts_count = 1;
    entry.renditions[0].parts[0].bytes = 1000000;
    if (!playlist->is_closed && !playlist_has(playlist, &entry))
        playlist_add(playlist, &entry, false);
    playlist_mark_saved(playlist, playlist->next_sequence);
    playlist_announce(playlist);
    render(playlist);
    state = playlist_export(playlist);
    playlist_init(&again);
    assert(!state || playlist_import(&again, state, strlen(state)) == 0);
    playlist_clear(&again);
    free(state);
}

static void import(const char *text, size_t size)
{
    struct playlist playlist;

    playlist_init(&playlist);
    if (playlist_import(&playlist, text, size) == 0) {
        render(&playlist);
        go_on(&playlist);
    }
    playlist_clear(&playlist);
}

/* The multivariant playlist up to an "@", then those of its renditions in turn. */
static void recover(char *text)
{
    char *media = strchr(text, '@');
    struct playlist playlist;

    if (media)
        *media++ = '\0';
    playlist_init(&playlist);
    if (playlist_recover_multivariant(&playlist, text) == 0) {
        for (int i = 0; i < playlist.renditions_count && media; i++) {
            char *next = strchr(media, '@');

            if (next)
                *next++ = '\0';
            (void)playlist_recover_media(&playlist, i, media);
            media = next;
        }
        render(&playlist);
        if (playlist.segments_count > 0)
            go_on(&playlist);
    }
    playlist_clear(&playlist);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    if (!text)
        abort();
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    import(text, size);
    recover(text);
    free(text);
    return 0;
}
