/*
 * What the broker says in MQTT 5 properties, read with Paho's functions. From any thread;
 * `properties` are only read. Part of connection.c, like options.h.
 */
#pragma once

#include "mqtt/inbox.h"
#include "mqtt/paho.h"

/* false: there is none */
bool properties_number(const struct paho *paho, const MQTTProperties *properties,
                       enum MQTTPropertyCodes code, uint32_t *ret_value);
/* Where the broker says to go instead (MQTT 5, 3.2.2.3.16), fit to be shown and cut to `size` with
 * its NUL; `text` stays as it is if there is none. */
void properties_server_reference(const struct paho *paho, const MQTTProperties *properties,
                                 char *text, size_t size);
/* Enters those of a PUBLISH into `message`, borrowed; only the response topic is a copy, which is
 * returned too and is to be freed, or NULL. */
char *properties_of_message(const struct paho *paho, const MQTTProperties *properties,
                            struct inbox_message *message);
