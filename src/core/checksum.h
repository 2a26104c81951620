/* The checksums that peers put at the end of what they send. Must not know fields or frames. */
#pragma once

#include "util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The names of the CRC are those of the catalogue of parametrised CRC algorithms; in brackets what
 * each gives for "123456789".
 */
enum checksum_type {
    CHECKSUM_SUM8,          /* the low byte of the sum (dd) */
    CHECKSUM_SUM16,         /* the low two bytes of the sum (01dd) */
    CHECKSUM_SUM16_NEGATED, /* what is missing from their sum to 0x10000 (fe23) */
    CHECKSUM_XOR8,          /* all bytes XORed (31) */
    CHECKSUM_CRC8,          /* CRC-8/SMBUS (f4) */
    CHECKSUM_CRC8_MAXIM,    /* CRC-8/MAXIM-DOW, 1-Wire's (a1) */
    CHECKSUM_CRC16_CCITT,   /* CRC-16/IBM-3740, "CCITT-FALSE" (29b1) */
    CHECKSUM_CRC16_XMODEM,  /* CRC-16/XMODEM (31c3) */
    CHECKSUM_CRC16_MODBUS,  /* CRC-16/MODBUS (4b37) */
    CHECKSUM_TYPES,
};

uint16_t checksum_of(enum checksum_type type, const uint8_t *data, size_t length);
/* 1 or 2 */
size_t checksum_size(enum checksum_type type);
/* "sum8", "crc16_modbus", ... */
const char *checksum_name(enum checksum_type type);
bool checksum_parse(const char *name, enum checksum_type *ret_type);
