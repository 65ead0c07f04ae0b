/* A gift as the chat shows it, and what the settings of the chat say about it. */
#include "wallet.h"

#include "libcommon/db.h"
#include "proto/setting.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

json_t *item_to_json(const struct item *item)
{
    return json_pack("{s:s,s:s,s:I,s:s,s:s}", "id", item->id, "name", item->name, "price", (json_int_t)item->price,
                     "icon", item->icon, "colour", item->colour);
}

json_t *purchase_to_json(const struct purchase *purchase)
{
    json_t *object = json_pack("{s:s,s:s,s:o,s:s,s:I,s:I}", "id", purchase->id, "broadcast_id", purchase->broadcast_id,
                               "item", item_to_json(&purchase->item), "user_id", purchase->user_id, "price",
                               (json_int_t)purchase->item.price, "created_at_ms", (json_int_t)purchase->created_at_ms);

    if (purchase->message[0])
        json_object_set_new(object, "message", json_string(purchase->message));
    return object;
}

/* As chat compares them: letters of ASCII in either case. */
static bool contains_word(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (; *text; text++)
        if (strncasecmp(text, word, len) == 0)
            return true;
    return false;
}

static bool contains_any(const char *text, const json_t *words)
{
    const json_t *word;
    size_t i;

    json_array_foreach(words, i,
                       word) if (json_is_string(word) && contains_word(text, json_string_value(word))) return true;
    return false;
}

static enum purchase_outcome check_setting(const char *kind, const json_t *value, const struct purchase *purchase,
                                           int64_t now_ms)
{
    json_int_t until_ms = json_integer_value(json_object_get(value, "until_ms"));

    if (strcmp(kind, "ban") == 0 || (strcmp(kind, "mute") == 0 && (until_ms == 0 || until_ms > now_ms)))
        return PURCHASE_MUTED;
    if (strcmp(kind, "block") == 0)
        return PURCHASE_BLOCKED;
    if (strcmp(kind, "words") == 0 && contains_any(purchase->message, json_object_get(value, "words")))
        return PURCHASE_BLOCKED;
    return PURCHASE_MADE;
}

enum purchase_outcome gift_check_settings(const struct db_result *result, const struct purchase *purchase,
                                          bool is_owner, int64_t now_ms)
{
    enum purchase_outcome outcome = PURCHASE_MADE;

    if (is_owner || strcmp(purchase->role, "operator") == 0)
        return outcome;
    for (size_t i = 0; i < db_result_rows(result) && outcome == PURCHASE_MADE; i++) {
        json_t *value = json_loads(db_result_value(result, i, 1), 0, NULL);

        outcome = check_setting(db_result_value(result, i, 0), value, purchase, now_ms);
        json_decref(value);
    }
    return outcome;
}

static json_t *decoration_of(const struct db_result *settings)
{
    for (size_t i = 0; i < db_result_rows(settings); i++)
        if (strcmp(db_result_value(settings, i, 0), "decoration") == 0)
            return json_loads(db_result_value(settings, i, 1), 0, NULL);
    return NULL;
}

char *gift_event_compose(const struct purchase *purchase, const struct db_result *settings, bool is_owner)
{
    json_t *user = json_pack("{s:s,s:s}", "id", purchase->user_id, "name", purchase->user_name);
    json_t *event, *decoration = decoration_of(settings);
    char *text;

    if (is_owner || strcmp(purchase->role, "operator") == 0)
        json_object_set_new(user, "role", json_string(is_owner ? "broadcaster" : "operator"));
    if (decoration)
        json_object_set_new(user, "decoration", decoration);
    event = json_pack("{s:s,s:o,s:o}", "type", "gift", "user", user, "item", item_to_json(&purchase->item));
    if (purchase->message[0])
        json_object_set_new(event, "message", json_string(purchase->message));
    json_object_set_new(event, "purchase", json_string(purchase->id));
    text = json_dumps(event, JSON_COMPACT);
    json_decref(event);
    if (!text)
        abort();
    return text;
}
