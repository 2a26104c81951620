/* Schemas from a line of text, so that tests read as tables. */
#pragma once

#include "core/schema.h"
#include "core/value.h"

/*
 * "temperature int16 scale=0.01; flag bool bits=3,1 offset=0": fields are split by ';', the words
 * after name and type are: be offset= length= bits=first,count scale= add= invalid= const=
 * default= min= max= step= deadband= enum=0:off,1:on hidden open round=2 offset=same text=const
 * default_text=default when=flags,bit,3 (,0: not set) when=kind,is,2 repeat=rest (3, field)
 * checksum=crc8 (,from,to) count=rest (all) counter now. "points array repeat=rest (x uint8; y
 * int8)" repeats objects. `extra` as a first word: extra bytes are an
 * error.
 */
struct schema *schema_from(const char *text);
/* the result of schema_new_take(); frees what it was given when it fails */
int schema_try(const char *text, struct schema **ret_schema, struct schema_error *ret_error);

/* "0102ff" -> bytes; the length */
size_t bytes_from(const char *hex, uint8_t *buf, size_t size);
/* all values that are there as a JSON object, borrowed until the next call with the same buffer */
struct strbuf;
const char *values_text(struct strbuf *out, const struct schema *schema,
                        const struct value *values);
/* xorshift: the same numbers each time */
uint32_t random_u32(uint32_t *seed);
uint64_t random_u64(uint32_t *seed);
