/*
 * The host's side of a played LE controller: HCI commands, events and data (Core Specification Vol
 * 4 Part E) in H:4 packets. It keeps what the host has set (scanning, accept list, a connection
 * being made), says which advertisements the host gets to see, and hands the rest to its owner. It
 * offers legacy advertising commands only. Pure; must not know peripherals, links' insides or
 * /dev/vhci.
 */
#pragma once

#include "core/bt.h"
#include "radio_link.h"

#define HCI_PACKET_MAX      260 /* H:4 type, header, 255 bytes */
#define HCI_AD_MAX          31
#define HCI_ACCEPT_LIST_MAX 32

#define HCI_E_UNKNOWN_CONNECTION 0x02
#define HCI_E_MEMORY             0x07

struct hci;

struct hci_ops {
    void (*to_host)(void *user, const uint8_t *packet, size_t length); /* H:4 */
    /* the host's data for a connection; `start`: the first fragment of an L2CAP frame */
    void (*data)(void *user, uint16_t handle, bool start, const uint8_t *data, size_t length);
    /* These return 0 or an HCI error, HCI_E_UNKNOWN_CONNECTION where there is no such handle. */
    uint8_t (*disconnect)(void *user, uint16_t handle);
    uint8_t (*set_parameters)(void *user, uint16_t handle, struct link_parameters parameters);
    /* the peer answers questions about itself: false when it is silent, or there is none */
    bool (*answers)(void *user, uint16_t handle);
    int (*rssi)(void *user, uint16_t handle);
    bool (*holds)(void *user, const struct bt_address *address, enum bt_address_type type);
    /* the host has set scanning on or off */
    void (*scanning)(void *user, bool on, bool active);
    /* the host reset the controller: all links are gone, no event tells so */
    void (*reset)(void *user);
};

MUST_CHECK
int hci_new(const struct bt_address *address, const struct hci_ops *ops, void *user,
            struct hci **ret_hci);
struct hci *hci_free(struct hci *hci);

/* an H:4 packet of the host; what is malformed is ignored */
void hci_receive(struct hci *hci, const uint8_t *packet, size_t length);

/* Vol 4 Part E 7.7.65.2 */
enum hci_report_type {
    HCI_REPORT_CONNECTABLE = 0,
    HCI_REPORT_SCANNABLE = 2,
    HCI_REPORT_PLAIN = 3,
    HCI_REPORT_SCAN_RESPONSE = 4,
};

struct hci_advertisement {
    enum hci_report_type type;
    struct bt_address address;
    enum bt_address_type address_type;
    int rssi;
    uint8_t data[HCI_AD_MAX], response[HCI_AD_MAX];
    uint8_t data_length, response_length;
    uint32_t seen; /* the controller's mark for its duplicate filter; 0 at first */
};

/* whether it listens to advertisements at all */
bool hci_listens(const struct hci *hci);
/* An advertisement is on the air. Reports it to the host as the scan and its filters say. True: the
 * host wants a connection to this peer, and the owner makes one or calls hci_refused(). */
bool hci_hear(struct hci *hci, struct hci_advertisement *advertisement, uint64_t now_us);
/* what the host wants for the connection being made */
struct link_parameters hci_wanted_parameters(const struct hci *hci);
void hci_connected(struct hci *hci, uint16_t handle, const struct hci_advertisement *peer,
                   struct link_parameters parameters);
void hci_disconnected(struct hci *hci, uint16_t handle, uint8_t reason);
/* a fragment of the peer's for the host */
void hci_data(struct hci *hci, uint16_t handle, bool start, const uint8_t *data, size_t length);
void hci_completed(struct hci *hci, uint16_t handle, uint16_t n_packets);
