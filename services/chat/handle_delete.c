/* {"type":"delete","ref","id"}: the broadcaster or a moderator takes a comment away, on all servers. */
#include "connection.h"
#include "room.h"

#include "libcommon/log.h"

#include <string.h>

void handle_delete(struct chat *chat, struct message *message)
{
    struct connection *connection = message->connection;
    json_t *root;
    char *e;

    if (connection->role <= CHAT_VIEWER || !connection->room) {
        send_error(connection, message->ref, "forbidden", 0);
        return;
    }
    root = json_pack("{s:s,s:s,s:s}", "type", "deleted", "target", message->text, "by", connection->user_id);
    e = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (!e)
        abort();
    memmove(e, e + 1, strlen(e));
    log_info("comment.deleted", log_str("broadcast", connection->broadcast_id), log_str("comment", message->text),
             log_str("by", connection->user_id));
    log_writer_add(connection->room->broadcast->shard->log_writer, connection, message->ref, "", ROOM_EVERY, e);
}
