/* Advertising packets; see radio_adv.h. */
#include "radio_adv.h"

#include "util/bytes.h"

#include <string.h>

/* Assigned Numbers 2.3 */
#define AD_FLAGS           0x01
#define AD_UUIDS16         0x03 /* complete list */
#define AD_UUIDS128        0x07
#define AD_NAME_SHORTENED  0x08
#define AD_NAME            0x09
#define AD_SERVICE_DATA16  0x16
#define AD_SERVICE_DATA128 0x21
#define AD_MANUFACTURER    0xff

#define FLAGS_GENERAL_NO_BREDR 0x06

static size_t wire_uuid(const struct bt_uuid *uuid, uint8_t out[static 16])
{
    uint16_t brief = bt_uuid_to_u16(uuid);
    if (brief) {
        put_le(out, brief, 2);
        return 2;
    }
    for (size_t i = 0; i < 16; i++)
        out[i] = uuid->b[15 - i];
    return 16;
}

static bool put_structure(uint8_t packet[static HCI_AD_MAX], uint8_t *length, uint8_t type,
                          const uint8_t *data, size_t n)
{
    if (n + 2 > (size_t)HCI_AD_MAX - *length)
        return false;
    packet[(*length)++] = (uint8_t)(n + 1);
    packet[(*length)++] = type;
    memcpy(packet + *length, data, n);
    *length = (uint8_t)(*length + n);
    return true;
}

/* into the packet, else into the scan response, else it is not said */
static bool put(struct hci_advertisement *a, uint8_t type, const uint8_t *data, size_t n)
{
    return put_structure(a->data, &a->data_length, type, data, n) ||
           put_structure(a->response, &a->response_length, type, data, n);
}

static void put_uuids(struct hci_advertisement *a, const struct sim_peripheral *p, size_t width)
{
    uint8_t list[HCI_AD_MAX], uuid[16];
    size_t length = 0;
    for (size_t i = 0; i < p->n_advertised; i++) {
        if (wire_uuid(&p->advertised[i], uuid) != width || length + width > sizeof(list))
            continue;
        memcpy(list + length, uuid, width);
        length += width;
    }
    if (length > 0)
        put(a, width == 2 ? AD_UUIDS16 : AD_UUIDS128, list, length);
}

static void put_data(struct hci_advertisement *a, const struct sim_peripheral *p)
{
    uint8_t out[HCI_AD_MAX];
    for (size_t i = 0; i < p->n_manufacturer; i++) {
        const struct sim_manufacturer_data *m = &p->manufacturer[i];
        if (2 + m->data.length > sizeof(out))
            continue;
        put_le(out, m->company, 2);
        if (m->data.length > 0)
            memcpy(out + 2, m->data.data, m->data.length);
        put(a, AD_MANUFACTURER, out, 2 + m->data.length);
    }
    for (size_t i = 0; i < p->n_service_data; i++) {
        const struct sim_service_data *s = &p->service_data[i];
        size_t n = wire_uuid(&s->uuid, out);
        if (n + s->data.length > sizeof(out))
            continue;
        if (s->data.length > 0)
            memcpy(out + n, s->data.data, s->data.length);
        put(a, n == 2 ? AD_SERVICE_DATA16 : AD_SERVICE_DATA128, out, n + s->data.length);
    }
}

static void put_name(struct hci_advertisement *a, const char *name)
{
    size_t n = strlen(name);
    if (put(a, AD_NAME, (const uint8_t *)name, n))
        return;
    bool in_data = a->data_length < a->response_length;
    size_t room = HCI_AD_MAX - (in_data ? a->data_length : a->response_length);
    if (room > 2)
        put(a, AD_NAME_SHORTENED, (const uint8_t *)name, room - 2);
}

void adv_build(const struct sim_peripheral *p, struct hci_advertisement *ret_advertisement)
{
    struct hci_advertisement a = {.address = p->address, .address_type = p->address_type};
    uint8_t flags = FLAGS_GENERAL_NO_BREDR;

    put(&a, AD_FLAGS, &flags, 1);
    put_uuids(&a, p, 2);
    put_uuids(&a, p, 16);
    put_data(&a, p);
    if (p->name)
        put_name(&a, p->name);
    a.type = p->connectable          ? HCI_REPORT_CONNECTABLE
             : a.response_length > 0 ? HCI_REPORT_SCANNABLE
                                     : HCI_REPORT_PLAIN;
    *ret_advertisement = a;
}
