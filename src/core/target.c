/*
 * What an operation is about: a characteristic that an entry of the file names, or one that a
 * request names by bare UUID; and whether the peer allows it. Must not know when it runs.
 */
#include "core/world.h"

#include <stdlib.h>
#include <string.h>

#define TREE_MAX 512 /* characteristics of a peer that requests can name by UUID */

/* ---- the peer's tree, for requests by UUID ---- */

void target_keep_tree(struct peer *peer, const struct gatt_characteristic *list, size_t n)
{
    target_forget_tree(peer);
    if (!peer->gateway->settings->commands.allow_raw || !n)
        return;
    n = MIN_OF(n, (size_t)TREE_MAX);
    peer->tree = malloc(n * sizeof(*list));
    if (!peer->tree)
        return;
    memcpy(peer->tree, list, n * sizeof(*list));
    peer->n_tree = n;
}

void target_forget_tree(struct peer *peer)
{
    free(peer->tree);
    peer->tree = NULL;
    peer->n_tree = 0;
}

static bool find_by_uuid(struct peer *peer, struct gatt_op *op)
{
    const struct gatt_characteristic *found = NULL;
    char uuid[BT_UUID_TEXT_SIZE];
    size_t n = 0;

    bt_uuid_format_short(&op->uuid, uuid);
    if (!peer->tree) { /* `allow_raw` came with a reload */
        ops_fail(peer, op, "not_supported", 0, "only from the next connection on");
        return false;
    }
    for (size_t i = 0; i < peer->n_tree; i++)
        if (bt_uuid_equal(&peer->tree[i].uuid, &op->uuid)) {
            found = &peer->tree[i];
            n++;
        }
    if (!n)
        ops_fail(peer, op, "unknown_characteristic", 0, "the peer has no characteristic %s", uuid);
    else if (n > 1)
        ops_fail(peer, op, "bad_request", 0,
                 "the peer has %s %zu times; which one is meant, only an entry of the file can say",
                 uuid, n);
    if (n != 1)
        return false;
    op->handle = found->handle;
    op->flags = found->flags;
    return true;
}

/* ---- whether it can be done ---- */

const char *target_name(const struct peer *peer, const struct gatt_op *op)
{
    return op->entry == NO_ENTRY ? "the characteristic" : peer->entries[op->entry].settings->id;
}

static bool check_write(struct peer *peer, struct gatt_op *op)
{
    const struct characteristic_settings *settings =
        op->entry == NO_ENTRY ? NULL : peer->entries[op->entry].settings;
    bool request = op->flags & GATT_FLAG_WRITE;
    bool write_command = op->flags & GATT_FLAG_WRITE_COMMAND;
    enum tri wanted = op->wanted == TRI_AUTO && settings ? settings->response : op->wanted;

    if (!request && !write_command) {
        ops_fail(peer, op, "read_only", 0, "the peer does not allow writing %s",
                 target_name(peer, op));
        return false;
    }
    if ((wanted == TRI_YES && !request) || (wanted == TRI_NO && !write_command)) {
        ops_fail(peer, op, "not_supported", 0, "the peer offers writing only %s response",
                 request ? "with" : "without");
        return false;
    }
    op->response = wanted == TRI_AUTO ? request : wanted == TRI_YES;
    if (settings && settings->framed)
        return true; /* it goes in as many packets as it takes */
    /* a command travels in one packet: ATT_MTU - 3 (Vol 3 Part F 3.4.5.3) */
    if (!op->response && peer->mtu && op->length > peer->mtu - 3u) {
        ops_fail(peer, op, "value_too_long", 0,
                 "%zu bytes do not fit a write without response (at most %u)", op->length,
                 peer->mtu - 3u);
        return false;
    }
    return true;
}

static bool check_read(struct peer *peer, struct gatt_op *op)
{
    if (op->entry != NO_ENTRY && !peer->entries[op->entry].settings->readable) {
        ops_fail(peer, op, "not_supported", 0, "%s is notified in frames and cannot be read",
                 target_name(peer, op));
        return false;
    }
    if (!(op->flags & GATT_FLAG_READ)) {
        ops_fail(peer, op, "write_only", 0, "the peer does not allow reading %s",
                 target_name(peer, op));
        return false;
    }
    return true;
}

static bool find_by_entry(struct peer *peer, struct gatt_op *op)
{
    const struct entry *entry = &peer->entries[op->entry];

    if (entry->source == NO_SOURCE) {
        ops_fail(peer, op, "not_supported", 0, "%s",
                 entry->missing ? entry->missing : "not on this peer");
        return false;
    }
    op->handle = peer->sources[entry->source].handle;
    op->flags = peer->sources[entry->source].flags;
    return true;
}

bool target_check(struct peer *peer, struct gatt_op *op)
{
    if (!(op->entry == NO_ENTRY ? find_by_uuid(peer, op) : find_by_entry(peer, op)))
        return false;
    switch (op->kind) {
    case OP_KIND_READ: return check_read(peer, op);
    case OP_KIND_WRITE: return check_write(peer, op);
    case OP_KIND_SUBSCRIBE:
    case OP_KIND_UNSUBSCRIBE: return subscribe_check(peer, op);
    }
    return false;
}
