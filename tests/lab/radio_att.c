/* The ATT server of a played peripheral; see radio_att.h. */
#include "radio_att.h"

#include "util/bytes.h"
#include "util/cleanup.h"

#include <string.h>

/* Core Specification Vol 3 Part F 3.4.8 */
enum att_opcode {
    ATT_ERROR_RSP = 0x01,
    ATT_MTU_REQ = 0x02,
    ATT_MTU_RSP = 0x03,
    ATT_FIND_INFO_REQ = 0x04,
    ATT_FIND_INFO_RSP = 0x05,
    ATT_FIND_BY_TYPE_REQ = 0x06,
    ATT_FIND_BY_TYPE_RSP = 0x07,
    ATT_READ_BY_TYPE_REQ = 0x08,
    ATT_READ_BY_TYPE_RSP = 0x09,
    ATT_READ_REQ = 0x0a,
    ATT_READ_RSP = 0x0b,
    ATT_READ_BLOB_REQ = 0x0c,
    ATT_READ_BLOB_RSP = 0x0d,
    ATT_READ_BY_GROUP_REQ = 0x10,
    ATT_READ_BY_GROUP_RSP = 0x11,
    ATT_WRITE_REQ = 0x12,
    ATT_WRITE_RSP = 0x13,
    ATT_PREPARE_REQ = 0x16,
    ATT_PREPARE_RSP = 0x17,
    ATT_EXECUTE_REQ = 0x18,
    ATT_EXECUTE_RSP = 0x19,
    ATT_NOTIFY = 0x1b,
    ATT_INDICATE = 0x1d,
    ATT_CONFIRM = 0x1e,
    ATT_WRITE_CMD = 0x52,
};
#define ATT_COMMAND_BIT 0x40 /* a PDU that is never answered */

/* Vol 3 Part F 3.4.1.1, beyond the model's own */
#define ATT_E_INVALID_PDU    0x04
#define ATT_E_NOT_SUPPORTED  0x06
#define ATT_E_QUEUE_FULL     0x09
#define ATT_E_NOT_FOUND      0x0a
#define ATT_E_BAD_GROUP_TYPE 0x10

#define UUID_PRIMARY_SERVICE 0x2800
#define UUID_CHARACTERISTIC  0x2803
#define UUID_CCCD            0x2902

enum attribute_kind {
    ATTRIBUTE_FIXED,    /* `data`, read only */
    ATTRIBUTE_VALUE,    /* of the model's characteristic */
    ATTRIBUTE_CCCD,     /* of the model's characteristic */
    ATTRIBUTE_OWN_CCCD, /* of Service Changed, which the model does not know */
};

struct attribute {
    uint16_t handle;
    uint16_t end; /* of a service: its last handle */
    struct bt_uuid type;
    enum attribute_kind kind;
    struct sim_characteristic *characteristic; /* borrowed */
    uint8_t *data;                             /* owned */
    size_t length;
};

struct waiting {
    uint8_t pdu[ATT_MTU_MAX];
    size_t length;
};

struct att_server {
    struct sim_peripheral *peripheral; /* borrowed */
    att_send_fn send;
    void *user;
    uint16_t mtu;
    struct attribute *attributes; /* owned; by handle */
    size_t n_attributes, attributes_size;
    bool failed; /* while the database is being made */
    /* a long write under way (Vol 3 Part F 3.4.6) */
    uint16_t prepared_handle; /* 0: none */
    uint8_t prepared[GATT_VALUE_MAX];
    size_t prepared_length;
    /* indications: one is confirmed before the next is sent */
    bool unconfirmed;
    struct waiting *waiting; /* owned; first in, first out */
    size_t n_waiting;
};

/* ---- the database ---- */

static size_t put_uuid(const struct bt_uuid *uuid, uint8_t out[static 16])
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

/* a UUID of 2 or 16 bytes, little endian */
static bool get_uuid(const uint8_t *data, size_t length, struct bt_uuid *ret_uuid)
{
    if (length == 2) {
        *ret_uuid = bt_uuid_from_u16((uint16_t)(data[0] | data[1] << 8));
        return true;
    }
    if (length != 16)
        return false;
    for (size_t i = 0; i < 16; i++)
        ret_uuid->b[i] = data[15 - i];
    return true;
}

static struct attribute *add_attribute(struct att_server *server, uint16_t handle, uint16_t type,
                                       enum attribute_kind kind)
{
    if (server->n_attributes == server->attributes_size) {
        size_t size = server->attributes_size ? 2 * server->attributes_size : 32;
        struct attribute *list = reallocarray(server->attributes, size, sizeof(*list));
        if (!list) {
            server->failed = true;
            return NULL;
        }
        server->attributes = list;
        server->attributes_size = size;
    }
    struct attribute *a = &server->attributes[server->n_attributes++];
    *a = (struct attribute){
        .handle = handle, .end = handle, .type = bt_uuid_from_u16(type), .kind = kind};
    return a;
}

static struct attribute *add_fixed(struct att_server *server, uint16_t handle, uint16_t type,
                                   const void *data, size_t length)
{
    struct attribute *a = add_attribute(server, handle, type, ATTRIBUTE_FIXED);
    if (!a)
        return NULL;
    a->data = malloc(length ? length : 1);
    if (!a->data) {
        server->failed = true;
        return NULL;
    }
    memcpy(a->data, data, length);
    a->length = length;
    return a;
}

static void add_service(struct att_server *server, uint16_t handle, uint16_t end,
                        const struct bt_uuid *uuid)
{
    uint8_t data[16];
    struct attribute *a =
        add_fixed(server, handle, UUID_PRIMARY_SERVICE, data, put_uuid(uuid, data));
    if (a)
        a->end = end;
}

static void add_declaration(struct att_server *server, uint16_t handle, uint16_t value_handle,
                            uint16_t flags, const struct bt_uuid *uuid)
{
    uint8_t data[3 + 16];
    data[0] = (uint8_t)flags;
    put_le(data + 1, value_handle, 2);
    size_t length = 3 + put_uuid(uuid, data + 3);
    add_fixed(server, handle, UUID_CHARACTERISTIC, data, length);
}

/* GAP and GATT services, as every peripheral has them (Vol 3 Part C 12, Part G 7) */
static void add_own_services(struct att_server *server)
{
    struct bt_uuid uuid = bt_uuid_from_u16(0x1800);
    const char *name = server->peripheral->name ? server->peripheral->name : "";
    uint8_t appearance[2] = {0};

    add_service(server, 1, 5, &uuid);
    uuid = bt_uuid_from_u16(0x2a00);
    add_declaration(server, 2, 3, GATT_FLAG_READ, &uuid);
    add_fixed(server, 3, 0x2a00, name, MIN_OF(strlen(name), (size_t)248));
    uuid = bt_uuid_from_u16(0x2a01);
    add_declaration(server, 4, 5, GATT_FLAG_READ, &uuid);
    add_fixed(server, 5, 0x2a01, appearance, sizeof(appearance));

    uuid = bt_uuid_from_u16(0x1801);
    add_service(server, 6, 9, &uuid);
    uuid = bt_uuid_from_u16(0x2a05); /* Service Changed */
    add_declaration(server, 7, 8, GATT_FLAG_INDICATE, &uuid);
    struct attribute *value = add_attribute(server, 8, 0x2a05, ATTRIBUTE_VALUE);
    if (value)
        value->characteristic = NULL; /* cannot be read */
    struct attribute *cccd = add_fixed(server, 9, UUID_CCCD, appearance, sizeof(appearance));
    if (cccd)
        cccd->kind = ATTRIBUTE_OWN_CCCD;
}

static void add_model(struct att_server *server)
{
    for (size_t s = 0; s < server->peripheral->n_services; s++) {
        struct sim_service *service = &server->peripheral->services[s];
        add_service(server, service->handle, service->end, &service->uuid);
        for (size_t i = 0; i < service->n_characteristics; i++) {
            struct sim_characteristic *c = &service->characteristics[i];
            add_declaration(server, c->declaration, c->handle, c->flags, &c->uuid);
            struct attribute *a = add_attribute(server, c->handle, 0, ATTRIBUTE_VALUE);
            if (a) {
                a->type = c->uuid;
                a->characteristic = c;
            }
            if (!c->cccd)
                continue;
            a = add_attribute(server, c->cccd, UUID_CCCD, ATTRIBUTE_CCCD);
            if (a)
                a->characteristic = c;
        }
    }
}

static struct attribute *find_attribute(struct att_server *server, uint16_t handle)
{
    for (size_t i = 0; i < server->n_attributes; i++)
        if (server->attributes[i].handle == handle)
            return &server->attributes[i];
    return NULL;
}

int att_server_new(struct sim_peripheral *peripheral, att_send_fn send, void *user,
                   struct att_server **ret_server)
{
    struct att_server *server = calloc(1, sizeof(*server));
    if (!server)
        return -ENOMEM;
    server->peripheral = peripheral;
    server->send = send;
    server->user = user;
    server->mtu = ATT_MTU_DEFAULT;
    server->waiting = calloc(ATT_INDICATIONS_MAX, sizeof(*server->waiting));
    server->failed = !server->waiting;
    add_own_services(server);
    add_model(server);
    if (server->failed) {
        att_server_free(server);
        return -ENOMEM;
    }
    *ret_server = server;
    return 0;
}

struct att_server *att_server_free(struct att_server *server)
{
    if (!server)
        return NULL;
    for (size_t i = 0; i < server->n_attributes; i++)
        free(server->attributes[i].data);
    free(server->attributes);
    free(server->waiting);
    free(server);
    return NULL;
}

uint16_t att_server_mtu(const struct att_server *server)
{
    return server->mtu;
}

/* ---- reading and writing one attribute; they return 0 or an ATT error code ---- */

static uint8_t read_attribute(const struct attribute *a, uint64_t now_us, size_t offset,
                              uint8_t out[static GATT_VALUE_MAX], size_t *ret_length)
{
    const uint8_t *data = a->data;
    size_t length = a->length;
    uint8_t cccd[2];

    if (a->kind == ATTRIBUTE_VALUE) {
        if (!a->characteristic)
            return SIM_ATT_READ_NOT_PERMITTED;
        uint8_t error = sim_characteristic_read(a->characteristic, now_us, offset, &data, &length);
        if (error)
            return error;
        offset = 0; /* the model has taken it off already */
    } else if (a->kind == ATTRIBUTE_CCCD) {
        put_le(cccd, a->characteristic->cccd_value, 2);
        data = cccd;
        length = sizeof(cccd);
    }
    if (offset > length)
        return SIM_ATT_INVALID_OFFSET;
    *ret_length = MIN_OF(length - offset, (size_t)GATT_VALUE_MAX);
    memcpy(out, data + offset, *ret_length);
    return 0;
}

static uint8_t write_attribute(struct attribute *a, uint64_t now_us, const uint8_t *data,
                               size_t length, bool command)
{
    switch (a->kind) {
    case ATTRIBUTE_FIXED: return SIM_ATT_WRITE_NOT_PERMITTED;
    case ATTRIBUTE_VALUE:
        if (!a->characteristic)
            return SIM_ATT_WRITE_NOT_PERMITTED;
        return sim_characteristic_write(a->characteristic, data, length, command);
    case ATTRIBUTE_CCCD:
        if (length != 2)
            return SIM_ATT_INVALID_LENGTH;
        return sim_characteristic_subscribe(a->characteristic, (uint16_t)(data[0] | data[1] << 8),
                                            now_us);
    case ATTRIBUTE_OWN_CCCD:
        if (length != 2)
            return SIM_ATT_INVALID_LENGTH;
        memcpy(a->data, data, 2);
        return 0;
    }
    return SIM_ATT_UNLIKELY;
}

/* ---- answers ---- */

static void answer(struct att_server *server, const uint8_t *pdu, size_t length)
{
    server->send(server->user, pdu, length, true);
}

static void answer_error(struct att_server *server, uint8_t opcode, uint16_t handle, uint8_t error)
{
    uint8_t pdu[5] = {ATT_ERROR_RSP, opcode, (uint8_t)handle, (uint8_t)(handle >> 8), error};
    answer(server, pdu, sizeof(pdu));
}

/* start and end of a range; answers and returns false where they are none */
static bool take_range(struct att_server *server, uint8_t opcode, struct cursor *in,
                       uint16_t *ret_start, uint16_t *ret_end)
{
    uint16_t start = cursor_le16(in), end = cursor_le16(in);
    if (in->failed) {
        answer_error(server, opcode, 0, ATT_E_INVALID_PDU);
        return false;
    }
    if (start == 0 || start > end) {
        answer_error(server, opcode, start, SIM_ATT_INVALID_HANDLE);
        return false;
    }
    *ret_start = start;
    *ret_end = end;
    return true;
}

static void on_mtu(struct att_server *server, struct cursor *in)
{
    uint16_t client = cursor_le16(in);
    if (in->failed) {
        answer_error(server, ATT_MTU_REQ, 0, ATT_E_INVALID_PDU);
        return;
    }
    uint16_t own = MAX_OF(server->peripheral->mtu, (uint16_t)ATT_MTU_DEFAULT);
    own = MIN_OF(own, (uint16_t)ATT_MTU_MAX);
    uint8_t pdu[3] = {ATT_MTU_RSP, (uint8_t)own, (uint8_t)(own >> 8)};
    answer(server, pdu, sizeof(pdu));
    /* holds from the next PDU on (Vol 3 Part F 3.4.2.2) */
    server->mtu = MAX_OF(MIN_OF(own, client), (uint16_t)ATT_MTU_DEFAULT);
}

static void on_find_info(struct att_server *server, struct cursor *in)
{
    uint16_t start, end;
    if (!take_range(server, ATT_FIND_INFO_REQ, in, &start, &end))
        return;
    uint8_t pdu[ATT_MTU_MAX] = {ATT_FIND_INFO_RSP};
    size_t length = 2, width = 0;
    for (size_t i = 0; i < server->n_attributes; i++) {
        const struct attribute *a = &server->attributes[i];
        uint8_t uuid[16];
        if (a->handle < start || a->handle > end)
            continue;
        size_t n = put_uuid(&a->type, uuid);
        if (width == 0)
            width = n;
        if (n != width || length + 2 + n > server->mtu)
            break;
        put_le(pdu + length, a->handle, 2);
        memcpy(pdu + length + 2, uuid, n);
        length += 2 + n;
    }
    if (width == 0) {
        answer_error(server, ATT_FIND_INFO_REQ, start, ATT_E_NOT_FOUND);
        return;
    }
    pdu[1] = width == 2 ? 1 : 2;
    answer(server, pdu, length);
}

static void on_find_by_type(struct att_server *server, struct cursor *in)
{
    uint16_t start, end;
    if (!take_range(server, ATT_FIND_BY_TYPE_REQ, in, &start, &end))
        return;
    struct bt_uuid type = bt_uuid_from_u16(cursor_le16(in));
    if (in->failed) {
        answer_error(server, ATT_FIND_BY_TYPE_REQ, start, ATT_E_INVALID_PDU);
        return;
    }
    size_t wanted = cursor_left(in);
    const uint8_t *value = cursor_take(in, wanted);
    uint8_t pdu[ATT_MTU_MAX] = {ATT_FIND_BY_TYPE_RSP};
    size_t length = 1;
    for (size_t i = 0; i < server->n_attributes; i++) {
        const struct attribute *a = &server->attributes[i];
        if (a->handle < start || a->handle > end || a->kind != ATTRIBUTE_FIXED ||
            a->length != wanted || !bt_uuid_equal(&a->type, &type) ||
            memcmp(a->data, value, wanted) != 0)
            continue;
        if (length + 4 > server->mtu)
            break;
        put_le(pdu + length, a->handle, 2);
        put_le(pdu + length + 2, a->end, 2);
        length += 4;
    }
    if (length == 1)
        answer_error(server, ATT_FIND_BY_TYPE_REQ, start, ATT_E_NOT_FOUND);
    else
        answer(server, pdu, length);
}

/* Read By Type and Read By Group Type: a list of handle(s) and value, all values of one length */
static void on_read_by_type(struct att_server *server, uint64_t now_us, struct cursor *in,
                            bool group)
{
    uint8_t opcode = group ? ATT_READ_BY_GROUP_REQ : ATT_READ_BY_TYPE_REQ;
    uint16_t start, end;
    if (!take_range(server, opcode, in, &start, &end))
        return;
    size_t n = cursor_left(in);
    struct bt_uuid type, primary = bt_uuid_from_u16(UUID_PRIMARY_SERVICE);
    if (!get_uuid(cursor_take(in, n), n, &type)) {
        answer_error(server, opcode, start, ATT_E_INVALID_PDU);
        return;
    }
    if (group && !bt_uuid_equal(&type, &primary)) {
        answer_error(server, opcode, start, ATT_E_BAD_GROUP_TYPE);
        return;
    }

    uint8_t pdu[ATT_MTU_MAX] = {group ? ATT_READ_BY_GROUP_RSP : ATT_READ_BY_TYPE_RSP};
    size_t length = 2, head = group ? 4 : 2, width = 0;
    /* the length field counts an entry in one byte */
    size_t room = MIN_OF((size_t)server->mtu - 2, (size_t)255) - head;
    for (size_t i = 0; i < server->n_attributes; i++) {
        const struct attribute *a = &server->attributes[i];
        uint8_t value[GATT_VALUE_MAX];
        size_t value_length;
        if (a->handle < start || a->handle > end || !bt_uuid_equal(&a->type, &type))
            continue;
        if (width && length + head + width > server->mtu)
            break;
        uint8_t error = read_attribute(a, now_us, 0, value, &value_length);
        if (error && length == 2) {
            answer_error(server, opcode, a->handle, error);
            return;
        }
        value_length = error ? 0 : MIN_OF(value_length, room);
        if (error || (length > 2 && value_length != width))
            break;
        width = value_length;
        put_le(pdu + length, a->handle, 2);
        if (group)
            put_le(pdu + length + 2, a->end, 2);
        memcpy(pdu + length + head, value, width);
        length += head + width;
    }
    if (length == 2) {
        answer_error(server, opcode, start, ATT_E_NOT_FOUND);
        return;
    }
    pdu[1] = (uint8_t)(head + width);
    answer(server, pdu, length);
}

static void on_read(struct att_server *server, uint64_t now_us, struct cursor *in, bool blob)
{
    uint8_t opcode = blob ? ATT_READ_BLOB_REQ : ATT_READ_REQ;
    uint16_t handle = cursor_le16(in);
    uint16_t offset = blob ? cursor_le16(in) : 0;
    if (in->failed) {
        answer_error(server, opcode, handle, ATT_E_INVALID_PDU);
        return;
    }
    const struct attribute *a = find_attribute(server, handle);
    uint8_t pdu[1 + GATT_VALUE_MAX] = {blob ? ATT_READ_BLOB_RSP : ATT_READ_RSP};
    size_t length = 0;
    uint8_t error =
        a ? read_attribute(a, now_us, offset, pdu + 1, &length) : SIM_ATT_INVALID_HANDLE;
    if (error)
        answer_error(server, opcode, handle, error);
    else
        answer(server, pdu, 1 + MIN_OF(length, (size_t)server->mtu - 1));
}

static void on_write(struct att_server *server, uint64_t now_us, struct cursor *in, bool command)
{
    uint16_t handle = cursor_le16(in);
    uint8_t error = ATT_E_INVALID_PDU;
    if (!in->failed) {
        struct attribute *a = find_attribute(server, handle);
        size_t n = cursor_left(in);
        error =
            a ? write_attribute(a, now_us, cursor_take(in, n), n, command) : SIM_ATT_INVALID_HANDLE;
    }
    if (command)
        return;
    if (error)
        answer_error(server, ATT_WRITE_REQ, handle, error);
    else
        answer(server, (uint8_t[]){ATT_WRITE_RSP}, 1);
}

/* One value at a time, its parts in order: what a long write needs (Vol 3 Part G 4.9.4). */
static void on_prepare(struct att_server *server, const uint8_t *pdu, size_t length)
{
    struct cursor in = cursor_of(pdu + 1, length - 1);
    uint16_t handle = cursor_le16(&in), offset = cursor_le16(&in);
    size_t n = cursor_left(&in);
    uint8_t error = 0;

    if (in.failed)
        error = ATT_E_INVALID_PDU;
    else if (!find_attribute(server, handle))
        error = SIM_ATT_INVALID_HANDLE;
    else if (server->prepared_handle && server->prepared_handle != handle)
        error = ATT_E_QUEUE_FULL;
    else if (offset != server->prepared_length)
        error = SIM_ATT_INVALID_OFFSET;
    else if (n > sizeof(server->prepared) - server->prepared_length)
        error = SIM_ATT_INVALID_LENGTH;
    if (error) {
        answer_error(server, ATT_PREPARE_REQ, handle, error);
        return;
    }
    server->prepared_handle = handle;
    memcpy(server->prepared + offset, cursor_take(&in, n), n);
    server->prepared_length += n;
    uint8_t echo[ATT_MTU_MAX];
    length = MIN_OF(length, (size_t)server->mtu);
    memcpy(echo, pdu, length);
    echo[0] = ATT_PREPARE_RSP;
    answer(server, echo, length);
}

static void on_execute(struct att_server *server, uint64_t now_us, struct cursor *in)
{
    uint8_t flags = cursor_u8(in);
    uint16_t handle = server->prepared_handle;
    size_t n = server->prepared_length;
    uint8_t error = 0;

    server->prepared_handle = 0;
    server->prepared_length = 0;
    if (in->failed || flags > 1)
        error = ATT_E_INVALID_PDU;
    else if (flags == 1 && handle)
        error = write_attribute(find_attribute(server, handle), now_us, server->prepared, n, false);
    if (error)
        answer_error(server, ATT_EXECUTE_REQ, handle, error);
    else
        answer(server, (uint8_t[]){ATT_EXECUTE_RSP}, 1);
}

/* ---- notifications and indications ---- */

static void on_confirm(struct att_server *server)
{
    if (!server->unconfirmed)
        return; /* nothing was asked: ignored */
    server->unconfirmed = false;
    if (server->n_waiting == 0)
        return;
    struct waiting first = server->waiting[0];
    server->n_waiting--;
    memmove(server->waiting, server->waiting + 1, server->n_waiting * sizeof(first));
    server->unconfirmed = true;
    server->send(server->user, first.pdu, first.length, false);
}

void att_server_notify(struct att_server *server, const struct sim_notification *notification)
{
    struct waiting out;
    size_t n = MIN_OF(notification->length, (size_t)server->mtu - 3);

    out.pdu[0] = notification->indicate ? ATT_INDICATE : ATT_NOTIFY;
    put_le(out.pdu + 1, notification->characteristic->handle, 2);
    memcpy(out.pdu + 3, notification->data, n);
    out.length = 3 + n;
    if (notification->indicate && server->unconfirmed) {
        if (server->n_waiting < ATT_INDICATIONS_MAX)
            server->waiting[server->n_waiting++] = out;
        return;
    }
    server->unconfirmed = server->unconfirmed || notification->indicate;
    server->send(server->user, out.pdu, out.length, false);
}

bool att_server_busy(const struct att_server *server)
{
    return server->n_waiting >= ATT_INDICATIONS_MAX;
}

/* ---- what comes in ---- */

void att_server_receive(struct att_server *server, uint64_t now_us, const uint8_t *pdu,
                        size_t length)
{
    struct cursor in = cursor_of(pdu, length);
    uint8_t opcode = cursor_u8(&in);
    if (in.failed)
        return;
    switch (opcode) {
    case ATT_MTU_REQ: on_mtu(server, &in); return;
    case ATT_FIND_INFO_REQ: on_find_info(server, &in); return;
    case ATT_FIND_BY_TYPE_REQ: on_find_by_type(server, &in); return;
    case ATT_READ_BY_TYPE_REQ: on_read_by_type(server, now_us, &in, false); return;
    case ATT_READ_BY_GROUP_REQ: on_read_by_type(server, now_us, &in, true); return;
    case ATT_READ_REQ: on_read(server, now_us, &in, false); return;
    case ATT_READ_BLOB_REQ: on_read(server, now_us, &in, true); return;
    case ATT_WRITE_REQ: on_write(server, now_us, &in, false); return;
    case ATT_WRITE_CMD: on_write(server, now_us, &in, true); return;
    case ATT_PREPARE_REQ: on_prepare(server, pdu, length); return;
    case ATT_EXECUTE_REQ: on_execute(server, now_us, &in); return;
    case ATT_CONFIRM: on_confirm(server); return;
    default:
        /* even opcodes are requests; answers that nobody asked for are ignored */
        if (!(opcode & ATT_COMMAND_BIT) && opcode % 2 == 0)
            answer_error(server, opcode, 0, ATT_E_NOT_SUPPORTED);
    }
}
