/* The checksums that peers put at the end of what they send; see checksum.h. */
#include "core/checksum.h"

#include <string.h>

static const struct {
    const char *name;
    uint8_t size;
    uint16_t polynomial, start; /* of a CRC */
    bool reflected;
} kinds[CHECKSUM_TYPES] = {
    [CHECKSUM_SUM8] = {"sum8", 1, 0, 0, false},
    [CHECKSUM_SUM16] = {"sum16", 2, 0, 0, false},
    [CHECKSUM_SUM16_NEGATED] = {"sum16_negated", 2, 0, 0, false},
    [CHECKSUM_XOR8] = {"xor8", 1, 0, 0, false},
    [CHECKSUM_CRC8] = {"crc8", 1, 0x07, 0, false},
    [CHECKSUM_CRC8_MAXIM] = {"crc8_maxim", 1, 0x8c, 0, true},
    [CHECKSUM_CRC16_CCITT] = {"crc16_ccitt", 2, 0x1021, 0xffff, false},
    [CHECKSUM_CRC16_XMODEM] = {"crc16_xmodem", 2, 0x1021, 0, false},
    [CHECKSUM_CRC16_MODBUS] = {"crc16_modbus", 2, 0xa001, 0xffff, true},
};

size_t checksum_size(enum checksum_type type)
{
    return kinds[type].size;
}

const char *checksum_name(enum checksum_type type)
{
    return kinds[type].name;
}

bool checksum_parse(const char *name, enum checksum_type *ret_type)
{
    for (unsigned i = 0; i < CHECKSUM_TYPES; i++)
        if (strcmp(kinds[i].name, name) == 0) {
            *ret_type = (enum checksum_type)i;
            return true;
        }
    return false;
}

/* bit by bit: values are short */
static uint16_t crc(enum checksum_type type, const uint8_t *data, size_t length)
{
    unsigned bits = 8U * kinds[type].size, value = kinds[type].start;
    unsigned mask = bits == 16 ? 0xffff : 0xff;

    for (size_t i = 0; i < length; i++) {
        value ^= kinds[type].reflected ? data[i] : (unsigned)data[i] << (bits - 8);
        for (int bit = 0; bit < 8; bit++) {
            bool out = kinds[type].reflected ? value & 1 : value >> (bits - 1) & 1;
            value = (kinds[type].reflected ? value >> 1 : value << 1) & mask;
            if (out)
                value ^= kinds[type].polynomial;
        }
    }
    return (uint16_t)value;
}

static uint16_t sum(const uint8_t *data, size_t length)
{
    unsigned value = 0;

    for (size_t i = 0; i < length; i++)
        value += data[i];
    return (uint16_t)value;
}

static uint16_t exclusive_or(const uint8_t *data, size_t length)
{
    unsigned value = 0;

    for (size_t i = 0; i < length; i++)
        value ^= data[i];
    return (uint16_t)value;
}

uint16_t checksum_of(enum checksum_type type, const uint8_t *data, size_t length)
{
    switch (type) {
    case CHECKSUM_SUM8: return sum(data, length) & 0xff;
    case CHECKSUM_SUM16: return sum(data, length);
    case CHECKSUM_SUM16_NEGATED: return (uint16_t)(0x10000u - sum(data, length));
    case CHECKSUM_XOR8: return exclusive_or(data, length);
    case CHECKSUM_CRC8:
    case CHECKSUM_CRC8_MAXIM:
    case CHECKSUM_CRC16_CCITT:
    case CHECKSUM_CRC16_XMODEM:
    case CHECKSUM_CRC16_MODBUS: return crc(type, data, length);
    case CHECKSUM_TYPES: break;
    }
    return 0;
}
