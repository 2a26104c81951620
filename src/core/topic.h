/* MQTT topic names and filters: what may be sent without a broker cutting us off. */
#pragma once

#include "util/err.h"
#include <stdbool.h>
#include <stddef.h>

#define TOPIC_MAX_BYTES  65535
#define TOPIC_MAX_LEVELS 200 /* separators; mosquitto disconnects at 201 */

/* non-empty UTF-8, no + # NUL, no control characters or non-characters, within the limits */
bool topic_is_valid_name(const char *topic, size_t length);
bool topic_is_valid_filter(const char *filter, size_t length);
/* [A-Za-z0-9_-]+: what an id in a topic may be */
bool topic_is_valid_id(const char *id);
/* MQTT 5 section 4.7: does the filter match the topic? */
bool topic_matches(const char *filter, const char *topic);
