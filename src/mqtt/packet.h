/* What of the MQTT packet format has to be known outside of Paho: how long a PUBLISH is, and how
 * the simplest one is written, because at QoS 0 Paho's way costs more than all the rest. Pure. */
#pragma once

#include "core/action.h"

#define MQTT_PACKET_MAX 268435455 /* MQTT 5.0 section 1.5.5, less than what it allows */

/* reason codes of MQTT 5.0 section 2.4 that we know how to handle or give ourselves */
#define MQTT_SESSION_TAKEN_OVER   0x8E
#define MQTT_TOPIC_FILTER_INVALID 0x8F
#define MQTT_TOPIC_NAME_INVALID   0x90
#define MQTT_PACKET_TOO_LARGE     0x95
#define MQTT_RETAIN_NOT_SUPPORTED 0x9a
#define MQTT_QOS_NOT_SUPPORTED    0x9b

/* The length of the PUBLISH packet for ACTION_PUBLISH (MQTT 3.1.1 and 5.0, section 3.3). */
size_t mqtt_publish_size(const struct action *action, bool v5);

/* Writes the packet itself, at QoS 0 and without correlation data; returns its length, or 0 if it
 * is not of that kind or longer than `size`. */
size_t mqtt_publish_write(const struct action *action, bool v5, uint8_t *buffer, size_t size);
