/* A played LE controller; see radio_hci.h. */
#include "radio_hci.h"

#include "util/bytes.h"

#include <stdlib.h>
#include <string.h>

#define H4_COMMAND 0x01
#define H4_ACL     0x02
#define H4_EVENT   0x04

#define EVENT_DISCONNECTED      0x05
#define EVENT_REMOTE_VERSION    0x0c
#define EVENT_COMMAND_COMPLETE  0x0e
#define EVENT_COMMAND_STATUS    0x0f
#define EVENT_COMPLETED_PACKETS 0x13
#define EVENT_LE_META           0x3e

#define LE_CONNECTED       0x01
#define LE_REPORT          0x02
#define LE_UPDATED         0x03
#define LE_REMOTE_FEATURES 0x04

#define E_UNKNOWN_COMMAND 0x01
#define E_EXISTS          0x0b
#define E_DISALLOWED      0x0c
#define E_INVALID         0x12
#define E_NO_ANSWER       0x22 /* LMP/LL response timeout */

#define COMPANY_TESTS   0xffff /* the company identifier for what is not on the market */
#define VERSION_4_2     0x08
#define NOT_STATUS_ONLY 0xff /* a handler has answered by itself */

struct accepted {
    uint8_t type;
    uint8_t address[6];
};

struct hci {
    struct bt_address address;
    const struct hci_ops *ops; /* borrowed */
    void *user;
    uint64_t le_mask;
    /* scanning */
    bool scanning, active, filter_duplicates, scan_accepted_only;
    uint64_t scan_interval_us, scan_window_us;
    uint32_t scan_number; /* counts starts of scanning, for the duplicate filter */
    struct accepted accept[HCI_ACCEPT_LIST_MAX];
    size_t n_accept;
    /* a connection being made */
    bool initiating, initiate_accepted;
    struct accepted initiate_peer;
    struct link_parameters wanted;
};

static void address_to_wire(const struct bt_address *address, uint8_t out[static 6])
{
    for (size_t i = 0; i < 6; i++)
        out[i] = address->b[5 - i];
}

/* ---- events ---- */

static void send_event(struct hci *hci, uint8_t code, const uint8_t *parameters, size_t length)
{
    uint8_t packet[HCI_PACKET_MAX] = {H4_EVENT, code, (uint8_t)length};
    memcpy(packet + 3, parameters, length);
    hci->ops->to_host(hci->user, packet, 3 + length);
}

/* parameters[0] is the subevent */
static void send_le_event(struct hci *hci, const uint8_t *parameters, size_t length)
{
    if (hci->le_mask >> (parameters[0] - 1) & 1)
        send_event(hci, EVENT_LE_META, parameters, length);
}

static void complete(struct hci *hci, uint16_t opcode, const uint8_t *returned, size_t length)
{
    uint8_t parameters[255] = {1, (uint8_t)opcode, (uint8_t)(opcode >> 8)};
    memcpy(parameters + 3, returned, length);
    send_event(hci, EVENT_COMMAND_COMPLETE, parameters, 3 + length);
}

static void send_status(struct hci *hci, uint16_t opcode, uint8_t status)
{
    uint8_t parameters[4] = {status, 1, (uint8_t)opcode, (uint8_t)(opcode >> 8)};
    send_event(hci, EVENT_COMMAND_STATUS, parameters, sizeof(parameters));
}

static void send_connected(struct hci *hci, uint8_t status, uint16_t handle, uint8_t type,
                           const uint8_t address[static 6], struct link_parameters p)
{
    uint8_t event[19] = {LE_CONNECTED, status};
    put_le(event + 2, handle, 2);
    event[4] = 0; /* we are the central */
    event[5] = type;
    memcpy(event + 6, address, 6);
    put_le(event + 12, p.interval, 2);
    put_le(event + 14, p.latency, 2);
    put_le(event + 16, p.timeout, 2);
    send_le_event(hci, event, sizeof(event));
}

/* ---- commands: a handler returns the status that is all of its answer, or NOT_STATUS_ONLY ---- */

static void forget_settings(struct hci *hci)
{
    hci->le_mask = 0x1f;
    hci->scanning = hci->initiating = false;
    hci->active = hci->scan_accepted_only = false;
    hci->scan_interval_us = hci->scan_window_us = 10000;
    hci->n_accept = 0;
}

static uint8_t on_reset(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    forget_settings(hci);
    hci->ops->reset(hci->user);
    return 0;
}

/* settings that change nothing here: event masks of classic events, our own advertising, the
 * random address, channels */
static uint8_t on_accepted(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    return 0;
}

static uint8_t on_read_version(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint8_t out[9] = {0, VERSION_4_2, 0, 0, VERSION_4_2};
    put_le(out + 5, COMPANY_TESTS, 2);
    complete(hci, opcode, out, sizeof(out));
    return NOT_STATUS_ONLY;
}

static uint8_t on_read_features(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint8_t out[9] = {0, [1 + 4] = 0x60}; /* BR/EDR not supported, LE supported */
    complete(hci, opcode, out, sizeof(out));
    return NOT_STATUS_ONLY;
}

static uint8_t on_read_buffer_size(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint8_t out[8] = {0, LINK_FRAGMENT, 0, 0, LINK_HOST_MAX, 0, 0, 0};
    complete(hci, opcode, out, sizeof(out));
    return NOT_STATUS_ONLY;
}

static uint8_t on_le_read_buffer_size(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint8_t out[4] = {0, LINK_FRAGMENT, 0, LINK_HOST_MAX};
    complete(hci, opcode, out, sizeof(out));
    return NOT_STATUS_ONLY;
}

static uint8_t on_read_address(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint8_t out[7] = {0};
    address_to_wire(&hci->address, out + 1);
    complete(hci, opcode, out, sizeof(out));
    return NOT_STATUS_ONLY;
}

static uint8_t on_le_read_features(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint8_t out[9] = {0}; /* none: no encryption, no data length extension, no extended commands */
    complete(hci, opcode, out, sizeof(out));
    return NOT_STATUS_ONLY;
}

static uint8_t on_le_read_states(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint8_t out[9] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03};
    complete(hci, opcode, out, sizeof(out));
    return NOT_STATUS_ONLY;
}

static uint8_t on_le_read_tx_power(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    complete(hci, opcode, (uint8_t[]){0, 0}, 2);
    return NOT_STATUS_ONLY;
}

static uint8_t on_read_tx_power(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint8_t out[4] = {0};
    put_le(out + 1, cursor_le16(in), 2);
    complete(hci, opcode, out, sizeof(out));
    return NOT_STATUS_ONLY;
}

static uint8_t on_read_rssi(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint16_t handle = cursor_le16(in);
    uint8_t out[4] = {0};
    out[0] = hci->ops->answers(hci->user, handle) ? 0 : HCI_E_UNKNOWN_CONNECTION;
    put_le(out + 1, handle, 2);
    out[3] = out[0] ? 127 : (uint8_t)hci->ops->rssi(hci->user, handle);
    complete(hci, opcode, out, sizeof(out));
    return NOT_STATUS_ONLY;
}

static uint8_t on_le_event_mask(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    hci->le_mask = cursor_le(in, 8);
    return 0;
}

static uint8_t on_scan_parameters(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint8_t type = cursor_u8(in);
    uint16_t interval = cursor_le16(in), window = cursor_le16(in);
    cursor_u8(in); /* our own address's type: nobody sees it */
    uint8_t policy = cursor_u8(in);
    if (hci->scanning)
        return E_DISALLOWED;
    if (type > 1 || policy > 1 || interval < 4 || window < 4 || window > interval)
        return E_INVALID;
    hci->active = type == 1;
    hci->scan_interval_us = (uint64_t)interval * 625;
    hci->scan_window_us = (uint64_t)window * 625;
    hci->scan_accepted_only = policy == 1;
    return 0;
}

static uint8_t on_scan_enable(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    hci->scanning = cursor_u8(in) != 0;
    hci->filter_duplicates = cursor_u8(in) != 0;
    if (hci->scanning && ++hci->scan_number == 0)
        hci->scan_number = 1;
    hci->ops->scanning(hci->user, hci->scanning, hci->active);
    return 0;
}

static struct accepted take_peer(struct cursor *in)
{
    struct accepted peer = {.type = cursor_u8(in)};
    const uint8_t *address = cursor_take(in, 6);
    if (address)
        memcpy(peer.address, address, 6);
    return peer;
}

static bool same_peer(const struct accepted *a, const struct accepted *b)
{
    return a->type == b->type && memcmp(a->address, b->address, 6) == 0;
}

static bool is_accepted(const struct hci *hci, const struct accepted *peer)
{
    for (size_t i = 0; i < hci->n_accept; i++)
        if (same_peer(&hci->accept[i], peer))
            return true;
    return false;
}

static uint8_t on_accept_list_size(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    complete(hci, opcode, (uint8_t[]){0, HCI_ACCEPT_LIST_MAX}, 2);
    return NOT_STATUS_ONLY;
}

/* Vol 4 Part E 7.8.15: not while scanning or initiating uses the list */
static bool accept_list_in_use(const struct hci *hci)
{
    return (hci->scanning && hci->scan_accepted_only) ||
           (hci->initiating && hci->initiate_accepted);
}

static uint8_t on_accept_list_clear(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    if (accept_list_in_use(hci))
        return E_DISALLOWED;
    hci->n_accept = 0;
    return 0;
}

static uint8_t on_accept_list_add(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    struct accepted peer = take_peer(in);
    if (accept_list_in_use(hci))
        return E_DISALLOWED;
    if (is_accepted(hci, &peer))
        return 0;
    if (hci->n_accept == HCI_ACCEPT_LIST_MAX)
        return HCI_E_MEMORY;
    hci->accept[hci->n_accept++] = peer;
    return 0;
}

static uint8_t on_accept_list_remove(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    struct accepted peer = take_peer(in);
    if (accept_list_in_use(hci))
        return E_DISALLOWED;
    for (size_t i = 0; i < hci->n_accept; i++) {
        if (!same_peer(&hci->accept[i], &peer))
            continue;
        hci->accept[i] = hci->accept[--hci->n_accept];
        return 0;
    }
    return 0;
}

static struct link_parameters take_parameters(struct cursor *in)
{
    struct link_parameters p;
    p.interval = cursor_le16(in);
    cursor_le16(in); /* the longest interval: the shortest is used */
    p.latency = cursor_le16(in);
    p.timeout = cursor_le16(in);
    return p;
}

static bool are_valid(struct link_parameters p)
{
    return p.interval >= 6 && p.interval <= 3200 && p.timeout >= 10 && p.timeout <= 3200;
}

static uint8_t on_connect(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    cursor_take(in, 4); /* the initiator's scan interval and window: it always listens */
    bool accepted = cursor_u8(in) == 1;
    struct accepted peer = take_peer(in);
    cursor_u8(in);
    struct link_parameters wanted = take_parameters(in);
    struct bt_address address;
    for (size_t i = 0; i < 6; i++)
        address.b[i] = peer.address[5 - i];

    uint8_t status = 0;
    if (hci->initiating)
        status = E_DISALLOWED;
    else if (!are_valid(wanted))
        status = E_INVALID;
    else if (!accepted && hci->ops->holds(hci->user, &address, peer.type & 1))
        status = E_EXISTS;
    if (status == 0) {
        hci->initiating = true;
        hci->initiate_accepted = accepted;
        hci->initiate_peer = peer;
        hci->wanted = wanted;
    }
    send_status(hci, opcode, status);
    return NOT_STATUS_ONLY;
}

static uint8_t on_connect_cancel(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    if (!hci->initiating)
        return E_DISALLOWED;
    hci->initiating = false;
    complete(hci, opcode, (uint8_t[]){0}, 1);
    send_connected(hci, HCI_E_UNKNOWN_CONNECTION, 0, hci->initiate_peer.type,
                   hci->initiate_peer.address, (struct link_parameters){0});
    return NOT_STATUS_ONLY;
}

static uint8_t on_disconnect(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    send_status(hci, opcode, hci->ops->disconnect(hci->user, cursor_le16(in)));
    return NOT_STATUS_ONLY;
}

static uint8_t on_update(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint16_t handle = cursor_le16(in);
    struct link_parameters p = take_parameters(in);
    uint8_t status =
        are_valid(p) ? hci->ops->set_parameters(hci->user, handle, p) : (uint8_t)E_INVALID;
    send_status(hci, opcode, status);
    if (status)
        return NOT_STATUS_ONLY;
    uint8_t event[10] = {LE_UPDATED, 0};
    put_le(event + 2, handle, 2);
    put_le(event + 4, p.interval, 2);
    put_le(event + 6, p.latency, 2);
    put_le(event + 8, p.timeout, 2);
    send_le_event(hci, event, sizeof(event));
    return NOT_STATUS_ONLY;
}

static uint8_t on_remote_features(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint8_t event[12] = {LE_REMOTE_FEATURES, 0};
    uint16_t handle = cursor_le16(in);
    put_le(event + 2, handle, 2);
    event[1] = hci->ops->answers(hci->user, handle) ? 0 : E_NO_ANSWER;
    send_status(hci, opcode, 0);
    send_le_event(hci, event, sizeof(event));
    return NOT_STATUS_ONLY;
}

static uint8_t on_remote_version(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint8_t event[8] = {0};
    uint16_t handle = cursor_le16(in);
    put_le(event + 1, handle, 2);
    event[0] = hci->ops->answers(hci->user, handle) ? 0 : E_NO_ANSWER;
    event[3] = VERSION_4_2;
    put_le(event + 4, COMPANY_TESTS, 2);
    send_status(hci, opcode, 0);
    send_event(hci, EVENT_REMOTE_VERSION, event, sizeof(event));
    return NOT_STATUS_ONLY;
}

static uint8_t on_read_commands(struct hci *hci, uint16_t opcode, struct cursor *in);

/* Each command with its place in Supported Commands (Vol 4 Part E 6.27) and its length. */
static const struct command {
    uint16_t opcode;
    uint8_t octet, bit;
    uint8_t length;
    uint8_t (*handle)(struct hci *hci, uint16_t opcode, struct cursor *in);
} commands[] = {
    {0x0406, 0, 5, 3, on_disconnect},
    {0x041d, 2, 7, 2, on_remote_version},
    {0x0c01, 5, 6, 8, on_accepted}, /* Set Event Mask */
    {0x0c03, 5, 7, 0, on_reset},
    {0x0c2d, 10, 2, 3, on_read_tx_power},
    {0x1001, 14, 3, 0, on_read_version},
    {0x1002, 14, 4, 0, on_read_commands},
    {0x1003, 14, 5, 0, on_read_features},
    {0x1005, 14, 7, 0, on_read_buffer_size},
    {0x1009, 15, 1, 0, on_read_address},
    {0x1405, 15, 5, 2, on_read_rssi},
    {0x2001, 25, 0, 8, on_le_event_mask},
    {0x2002, 25, 1, 0, on_le_read_buffer_size},
    {0x2003, 25, 2, 0, on_le_read_features},
    {0x2005, 25, 4, 6, on_accepted},  /* Set Random Address */
    {0x2006, 25, 5, 15, on_accepted}, /* Set Advertising Parameters */
    {0x2007, 25, 6, 0, on_le_read_tx_power},
    {0x2008, 25, 7, 32, on_accepted}, /* Set Advertising Data */
    {0x2009, 26, 0, 32, on_accepted}, /* Set Scan Response Data */
    {0x200a, 26, 1, 1, on_accepted},  /* Set Advertising Enable */
    {0x200b, 26, 2, 7, on_scan_parameters},
    {0x200c, 26, 3, 2, on_scan_enable},
    {0x200d, 26, 4, 25, on_connect},
    {0x200e, 26, 5, 0, on_connect_cancel},
    {0x200f, 26, 6, 0, on_accept_list_size},
    {0x2010, 26, 7, 0, on_accept_list_clear},
    {0x2011, 27, 0, 7, on_accept_list_add},
    {0x2012, 27, 1, 7, on_accept_list_remove},
    {0x2013, 27, 2, 14, on_update},
    {0x2014, 27, 3, 5, on_accepted}, /* Set Host Channel Classification */
    {0x2016, 27, 5, 2, on_remote_features},
    {0x201c, 28, 3, 0, on_le_read_states},
};

static uint8_t on_read_commands(struct hci *hci, uint16_t opcode, struct cursor *in)
{
    uint8_t out[65] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        out[1 + commands[i].octet] |= (uint8_t)(1u << commands[i].bit);
    complete(hci, opcode, out, sizeof(out));
    return NOT_STATUS_ONLY;
}

static void on_command(struct hci *hci, struct cursor *in)
{
    uint16_t opcode = cursor_le16(in);
    uint8_t length = cursor_u8(in), status = E_UNKNOWN_COMMAND;
    if (in->failed || length != cursor_left(in) || opcode == 0)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (commands[i].opcode != opcode)
            continue;
        status =
            commands[i].length == length ? commands[i].handle(hci, opcode, in) : (uint8_t)E_INVALID;
        break;
    }
    if (status != NOT_STATUS_ONLY)
        complete(hci, opcode, &status, 1);
}

static void on_acl(struct hci *hci, struct cursor *in)
{
    uint16_t handle = cursor_le16(in), length = cursor_le16(in);
    const uint8_t *data = cursor_take(in, length);
    if (in->failed)
        return;
    /* packet boundary: 0 and 2 start a frame, 1 goes on */
    hci->ops->data(hci->user, handle & 0x0fff, (handle >> 12 & 3) != 1, data, length);
}

void hci_receive(struct hci *hci, const uint8_t *packet, size_t length)
{
    struct cursor in = cursor_of(packet, length);
    uint8_t type = cursor_u8(&in);
    if (type == H4_COMMAND)
        on_command(hci, &in);
    else if (type == H4_ACL)
        on_acl(hci, &in);
}

/* ---- what happens on the air ---- */

int hci_new(const struct bt_address *address, const struct hci_ops *ops, void *user,
            struct hci **ret_hci)
{
    struct hci *hci = calloc(1, sizeof(*hci));
    if (!hci)
        return -ENOMEM;
    hci->address = *address;
    hci->ops = ops;
    hci->user = user;
    forget_settings(hci);
    *ret_hci = hci;
    return 0;
}

struct hci *hci_free(struct hci *hci)
{
    free(hci);
    return NULL;
}

bool hci_listens(const struct hci *hci)
{
    return hci->scanning || hci->initiating;
}

static void report(struct hci *hci, const struct hci_advertisement *a, enum hci_report_type type,
                   const uint8_t *data, uint8_t length)
{
    uint8_t event[3 + 7 + 1 + HCI_AD_MAX + 1] = {LE_REPORT, 1, (uint8_t)type};
    event[3] = (uint8_t)a->address_type;
    address_to_wire(&a->address, event + 4);
    event[10] = length;
    memcpy(event + 11, data, length);
    event[11 + length] = (uint8_t)a->rssi;
    send_le_event(hci, event, 12u + length);
}

bool hci_hear(struct hci *hci, struct hci_advertisement *a, uint64_t now_us)
{
    struct accepted peer = {.type = (uint8_t)a->address_type};
    address_to_wire(&a->address, peer.address);

    bool in_window = now_us % hci->scan_interval_us < hci->scan_window_us;
    if (hci->scanning && in_window && !(hci->scan_accepted_only && !is_accepted(hci, &peer)) &&
        !(hci->filter_duplicates && a->seen == hci->scan_number)) {
        a->seen = hci->scan_number;
        report(hci, a, a->type, a->data, a->data_length);
        if (hci->active && a->type != HCI_REPORT_PLAIN)
            report(hci, a, HCI_REPORT_SCAN_RESPONSE, a->response, a->response_length);
    }
    return hci->initiating && a->type == HCI_REPORT_CONNECTABLE &&
           (hci->initiate_accepted ? is_accepted(hci, &peer)
                                   : same_peer(&hci->initiate_peer, &peer));
}

struct link_parameters hci_wanted_parameters(const struct hci *hci)
{
    return hci->wanted;
}

void hci_connected(struct hci *hci, uint16_t handle, const struct hci_advertisement *peer,
                   struct link_parameters parameters)
{
    uint8_t address[6];
    address_to_wire(&peer->address, address);
    hci->initiating = false;
    send_connected(hci, 0, handle, (uint8_t)peer->address_type, address, parameters);
}

void hci_disconnected(struct hci *hci, uint16_t handle, uint8_t reason)
{
    uint8_t event[4] = {0, (uint8_t)handle, (uint8_t)(handle >> 8), reason};
    send_event(hci, EVENT_DISCONNECTED, event, sizeof(event));
}

void hci_data(struct hci *hci, uint16_t handle, bool start, const uint8_t *data, size_t length)
{
    uint8_t packet[5 + LINK_FRAGMENT] = {H4_ACL};
    if (length > LINK_FRAGMENT)
        return;
    put_le(packet + 1, handle | (start ? 2u : 1u) << 12, 2);
    put_le(packet + 3, length, 2);
    memcpy(packet + 5, data, length);
    hci->ops->to_host(hci->user, packet, 5 + length);
}

void hci_completed(struct hci *hci, uint16_t handle, uint16_t n_packets)
{
    uint8_t event[5] = {1};
    put_le(event + 1, handle, 2);
    put_le(event + 3, n_packets, 2);
    send_event(hci, EVENT_COMPLETED_PACKETS, event, sizeof(event));
}
