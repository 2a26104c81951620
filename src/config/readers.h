/* The readers of the keys that no simple type covers (KEY_OTHER). Each stores into the target that
 * the table names, or adds a diagnostic. */
#pragma once

#include "config/table.h"

#define DECLARE_READER(name)                                                              \
    void name(struct reader *reader, const struct key *key, const struct yaml_node *node, \
              void *target)

/* struct settings */
DECLARE_READER(read_mqtt_url);
DECLARE_READER(read_adapters);
DECLARE_READER(read_allow);
DECLARE_READER(read_reply_to);
/* struct device_settings */
DECLARE_READER(read_adapter);
DECLARE_READER(read_match_services);
DECLARE_READER(read_match_manufacturer);
DECLARE_READER(read_match_data);
DECLARE_READER(read_profile_name);
DECLARE_READER(read_until);
DECLARE_READER(read_sequence);
DECLARE_READER(read_device_override); /* home_assistant: char * */
DECLARE_READER(read_later);           /* its part of the file reads it */
/* struct characteristic_settings */
DECLARE_READER(read_has);
DECLARE_READER(read_frame_mark);
DECLARE_READER(read_frame_delimiter);
DECLARE_READER(read_message_equals);
/* struct entity_settings */
DECLARE_READER(read_entity_name);
/* home_assistant of a characteristic, a field or an entity: char * */
DECLARE_READER(read_entity_override);
/* struct field_spec */
DECLARE_READER(read_field_type);
DECLARE_READER(read_field_bit);
DECLARE_READER(read_field_bits);
DECLARE_READER(read_field_enum);
DECLARE_READER(read_field_invalid);
DECLARE_READER(read_field_value); /* const, default */
DECLARE_READER(read_field_offset);
DECLARE_READER(read_field_length);
DECLARE_READER(read_when_equals);
DECLARE_READER(read_field_repeat);
DECLARE_READER(read_repeat_count);
DECLARE_READER(read_repeat_rest);
DECLARE_READER(read_repeat_fields);
DECLARE_READER(read_field_checksum);
DECLARE_READER(read_checksum_type);
DECLARE_READER(read_field_counter);
DECLARE_READER(read_field_now);
