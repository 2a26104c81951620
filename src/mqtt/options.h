/*
 * What Paho is told: server address, connect options, TLS, properties. Part of connection.c, to
 * which alone it belongs; nobody else may include Paho's headers.
 */
#pragma once

#include "core/action.h"
#include "core/settings.h"
#include "mqtt/connection.h"
#include "mqtt/paho.h"

#define MQTT_TLS_ERROR_SIZE 256

struct mqtt_connect_options {
    MQTTAsync_connectOptions paho;
    MQTTAsync_willOptions will;
    MQTTAsync_SSLOptions tls;
    MQTTProperties properties; /* owned */
};

bool mqtt_needs_tls(const struct mqtt_settings *settings);
/* A new handle for one connection; Paho's code. */
int mqtt_handle_new(const struct paho *paho, const struct mqtt_settings *settings,
                    MQTTAsync *ret_handle);
/* A handle that never connects, or NULL; see connection.h. */
MQTTAsync mqtt_keeper_new(const struct paho *paho);

/* Everything but callbacks and context. `tls_error` gets OpenSSL's first complaint and must live as
 * long as the handle; what else is pointed to is borrowed until mqtt_connect() returns. */
void mqtt_connect_options_init(struct mqtt_connect_options *options, const struct paho *paho,
                               const struct mqtt_settings *settings, const struct mqtt_will *will,
                               char tls_error[MQTT_TLS_ERROR_SIZE]);
void mqtt_connect_options_done(struct mqtt_connect_options *options, const struct paho *paho);
/* MQTTAsync_connect(), with the signals of a thread that it may start blocked. */
int mqtt_connect(const struct paho *paho, MQTTAsync handle,
                 const struct mqtt_connect_options *options);

/* Message expiry and correlation data of a publication; to be freed with MQTTProperties_free(). */
void mqtt_publish_properties(const struct paho *paho, const struct action *action,
                             MQTTProperties *properties);
