/* Addresses, UUIDs and outcomes; see bt.h. Must not know BlueZ. */
#include "core/bt.h"

#include "util/num.h"
#include <stdio.h>
#include <string.h>

static const uint8_t base_uuid[16] = {0,    0, 0, 0,    0,    0,    0x10, 0,
                                      0x80, 0, 0, 0x80, 0x5f, 0x9b, 0x34, 0xfb};

int bt_address_parse(const char *text, struct bt_address *ret_address)
{
    struct bt_address address;
    size_t n;

    if (strlen(text) != 17)
        return -EINVAL;
    for (int i = 2; i < 17; i += 3)
        if (text[i] != ':')
            return -EINVAL;
    if (strchr(text, ' ') || num_parse_hex(text, address.b, sizeof(address.b), &n) < 0 || n != 6)
        return -EINVAL;
    *ret_address = address;
    return 0;
}

void bt_address_format(const struct bt_address *address, char buf[static BT_ADDRESS_TEXT_SIZE])
{
    const uint8_t *b = address->b;

    snprintf(buf, BT_ADDRESS_TEXT_SIZE, "%02X:%02X:%02X:%02X:%02X:%02X", b[0], b[1], b[2], b[3],
             b[4], b[5]);
}

bool bt_address_equal(const struct bt_address *a, const struct bt_address *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool bt_address_is_private(const struct bt_address *address, enum bt_address_type type)
{
    return type == BT_ADDRESS_RANDOM && (address->b[0] & 0xc0) != 0xc0;
}

bool bt_address_is_resolvable(const struct bt_address *address, enum bt_address_type type)
{
    return type == BT_ADDRESS_RANDOM && (address->b[0] & 0xc0) == 0x40;
}

int bt_passkey_parse(const char *text, size_t length, uint32_t *ret_passkey)
{
    uint32_t passkey = 0;

    if (!length || length > BT_PASSKEY_DIGITS)
        return -EINVAL;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EINVAL;
        passkey = passkey * 10 + (uint32_t)(text[i] - '0');
    }
    *ret_passkey = passkey;
    return 0;
}

int bt_uuid_parse(const char *text, struct bt_uuid *ret_uuid)
{
    struct bt_uuid uuid;
    char digits[33];
    size_t n = 0, length = strlen(text);

    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        uint32_t value;
        if ((length != 6 && length != 10) || num_parse_u32(text, &value) < 0)
            return -EINVAL;
        memcpy(uuid.b, base_uuid, sizeof(uuid.b));
        for (int i = 0; i < 4; i++)
            uuid.b[i] = (uint8_t)(value >> (24 - 8 * i));
        *ret_uuid = uuid;
        return 0;
    }
    if (length != 36)
        return -EINVAL;
    for (size_t i = 0; i < length; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-')
                return -EINVAL;
        } else {
            if (text[i] == ' ' || text[i] == ':')
                return -EINVAL;
            digits[n++] = text[i];
        }
    }
    digits[n] = '\0';
    if (num_parse_hex(digits, uuid.b, sizeof(uuid.b), &n) < 0 || n != sizeof(uuid.b))
        return -EINVAL;
    *ret_uuid = uuid;
    return 0;
}

void bt_uuid_format(const struct bt_uuid *uuid, char buf[static BT_UUID_TEXT_SIZE])
{
    const uint8_t *b = uuid->b;

    snprintf(buf, BT_UUID_TEXT_SIZE,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

void bt_uuid_format_short(const struct bt_uuid *uuid, char buf[static BT_UUID_TEXT_SIZE])
{
    uint16_t u16 = bt_uuid_to_u16(uuid);

    if (u16)
        snprintf(buf, BT_UUID_TEXT_SIZE, "0x%04X", u16);
    else
        bt_uuid_format(uuid, buf);
}

bool bt_uuid_equal(const struct bt_uuid *a, const struct bt_uuid *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

struct bt_uuid bt_uuid_from_u16(uint16_t value)
{
    struct bt_uuid uuid;

    memcpy(uuid.b, base_uuid, sizeof(uuid.b));
    uuid.b[2] = (uint8_t)(value >> 8);
    uuid.b[3] = (uint8_t)value;
    return uuid;
}

uint16_t bt_uuid_to_u16(const struct bt_uuid *uuid)
{
    if (uuid->b[0] || uuid->b[1] || memcmp(uuid->b + 4, base_uuid + 4, 12) != 0)
        return 0;
    return (uint16_t)(uuid->b[2] << 8 | uuid->b[3]);
}

const char *bt_status_name(enum bt_status status)
{
    switch (status) {
    case BT_STATUS_OK: return "ok";
    case BT_STATUS_FAILED: return "failed";
    case BT_STATUS_IN_PROGRESS: return "in_progress";
    case BT_STATUS_CANCELLED: return "cancelled";
    case BT_STATUS_GONE: return "gone";
    case BT_STATUS_NOT_CONNECTED: return "not_connected";
    case BT_STATUS_NOT_READY: return "not_ready";
    case BT_STATUS_NOT_PERMITTED: return "not_permitted";
    case BT_STATUS_NOT_AUTHORIZED: return "not_authorized";
    case BT_STATUS_NOT_PAIRED: return "not_paired";
    case BT_STATUS_NOT_SUPPORTED: return "not_supported";
    case BT_STATUS_INVALID_LENGTH: return "invalid_length";
    case BT_STATUS_INVALID_ARGUMENT: return "invalid_argument";
    case BT_STATUS_ATT_ERROR: return "att_error";
    case BT_STATUS_AUTH_FAILED: return "auth_failed";
    case BT_STATUS_ACCESS_DENIED: return "access_denied";
    case BT_STATUS_BLOCKED: return "blocked";
    case BT_STATUS_TIMEOUT: return "timeout";
    case BT_STATUS_LOST: return "lost";
    case BT_STATUS_NO_SERVICES: return "no_services";
    }
    return "unknown";
}
