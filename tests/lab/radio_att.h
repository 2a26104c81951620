/*
 * The ATT server of a played peripheral, for one link: answers the requests of Core Specification
 * Vol 3 Part F over the GATT database of Part G that the model describes, and makes notifications
 * and indications of what the model wants sent. The GAP and GATT services stand below the model's
 * handles. Pure; must not know how a PDU travels.
 */
#pragma once

#include "sim/peripheral.h"

#define ATT_MTU_DEFAULT     23
#define ATT_MTU_MAX         517
#define ATT_INDICATIONS_MAX 64 /* that wait for the confirmation of the one before */

struct att_server;

/* A PDU for the client, borrowed during the call. `answer`: the client asked for it; false:
 * notifications and indications. */
typedef void (*att_send_fn)(void *user, const uint8_t *pdu, size_t length, bool answer);

/* The peripheral is borrowed and outlives the server. -ENOMEM */
MUST_CHECK
int att_server_new(struct sim_peripheral *peripheral, att_send_fn send, void *user,
                   struct att_server **ret_server);
struct att_server *att_server_free(struct att_server *server);
/* what the client sent; anything at all is allowed */
void att_server_receive(struct att_server *server, uint64_t now_us, const uint8_t *pdu,
                        size_t length);
/* sends it, cut to the MTU; an indication waits for its turn */
void att_server_notify(struct att_server *server, const struct sim_notification *notification);
/* true: no more indications now, some still wait */
bool att_server_busy(const struct att_server *server);
uint16_t att_server_mtu(const struct att_server *server);
