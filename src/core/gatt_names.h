/* Names of the Bluetooth SIG for what a GATT tree shows, for people (Assigned Numbers 3.4.1, 3.7,
 * 3.8). Characteristics whose values are decoded have theirs in sig.h. */
#pragma once

#include "core/bt.h"

/* "Battery Service"; NULL: not in the table, or none of the SIG's */
const char *gatt_name(enum gatt_attribute_kind kind, const struct bt_uuid *uuid);
