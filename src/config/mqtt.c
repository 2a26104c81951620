/* `mqtt`: the broker's URL, and what its keys mean together. Must not know devices. */
#include "config/parts.h"
#include "config/readers.h"
#include "util/cleanup.h"
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *scheme;
    enum mqtt_transport transport;
    uint16_t port;
} schemes[] = {
    {"mqtt", MQTT_TRANSPORT_TCP, 1883},
    {"mqtts", MQTT_TRANSPORT_TLS, 8883},
    {"ws", MQTT_TRANSPORT_WS, 80},
    {"wss", MQTT_TRANSPORT_WSS, 443},
};

/* what other programs call them */
static const struct {
    const char *scheme, *ours;
} other_schemes[] = {
    {"tcp", "mqtt"},       {"ssl", "mqtts"}, {"tls", "mqtts"}, {"mqtt+ssl", "mqtts"},
    {"mqtt+tls", "mqtts"}, {"http", "ws"},   {"https", "wss"},
};

static void unknown_scheme(struct reader *reader, const struct yaml_node *node, const char *scheme,
                           size_t length)
{
    for (size_t i = 0; i < ARRAY_SIZE(other_schemes); i++)
        if (strlen(other_schemes[i].scheme) == length &&
            strncmp(other_schemes[i].scheme, scheme, length) == 0) {
            reader_error(reader, node, "'url' cannot start with %s://; did you mean %s://?",
                         other_schemes[i].scheme, other_schemes[i].ours);
            return;
        }
    reader_error(reader, node, "'url' must start with mqtt://, mqtts://, ws:// or wss://");
}

/* the scheme's index and what stands behind "://"; NULL after a diagnostic */
static const char *take_scheme(struct reader *reader, const struct yaml_node *node, const char *url,
                               size_t *ret_scheme)
{
    const char *end = strstr(url, "://");

    for (size_t i = 0; end && i < ARRAY_SIZE(schemes); i++)
        if (strlen(schemes[i].scheme) == (size_t)(end - url) &&
            strncasecmp(url, schemes[i].scheme, (size_t)(end - url)) == 0) {
            *ret_scheme = i;
            return end + 3;
        }
    unknown_scheme(reader, node, url, end ? (size_t)(end - url) : 0);
    return NULL;
}

/* "host", "host:port", "[::1]:port" */
static bool take_host(struct reader *reader, const struct yaml_node *node, const char *text,
                      size_t length, struct mqtt_settings *mqtt)
{
    const char *end = text + length, *host = text, *host_end, *port = NULL;
    uint32_t number;

    if (length && *text == '[') {
        host = text + 1;
        host_end = memchr(host, ']', (size_t)(end - host));
        if (host_end && host_end + 1 < end)
            port = host_end[1] == ':' ? host_end + 2 : end;
    } else {
        host_end = memchr(text, ':', length);
        if (host_end)
            port = host_end + 1;
        else
            host_end = end;
    }
    if (!host_end || host_end == host || memchr(host, ' ', (size_t)(host_end - host))) {
        reader_error(reader, node,
                     "'url' has no host; write mqtt://broker.lan, or "
                     "mqtt://[2001:db8::1] for an IPv6 address");
        return false;
    }
    if (port) {
        _cleanup_(freep) char *digits = strndup(port, (size_t)(end - port));
        if (!digits) {
            reader->failed = true;
            return false;
        }
        if (num_parse_u32(digits, &number) < 0 || !number || number > UINT16_MAX) {
            reader_error(reader, node, "'url' has no port between 1 and 65535 behind the host%s",
                         memchr(port, ':', (size_t)(end - port))
                             ? "; an IPv6 address is written in brackets: mqtt://[2001:db8::1]"
                             : "");
            return false;
        }
        mqtt->port = (uint16_t)number;
    }
    free(mqtt->host);
    mqtt->host = strndup(host, (size_t)(host_end - host));
    reader->failed |= !mqtt->host;
    return true;
}

void read_mqtt_url(struct reader *reader, const struct key *key, const struct yaml_node *node,
                   void *target)
{
    struct mqtt_settings *mqtt = &((struct settings *)target)->mqtt;
    const char *url = yaml_node_string(node);
    size_t scheme;

    if (!url) {
        reader_error(reader, node, "'url' must be %s, not %s", key->form, yaml_node_describe(node));
        return;
    }
    /* first of all, so that a password in it is never shown */
    const char *authority = strstr(url, "://");
    authority = authority ? authority + 3 : url;
    size_t length = strcspn(authority, "/?#");
    if (memchr(authority, '@', length)) {
        reader_error(reader, node,
                     "'url' takes no user and password; they belong in 'mqtt.username' and "
                     "'mqtt.password'");
        return;
    }
    const char *rest = take_scheme(reader, node, url, &scheme);
    if (!rest)
        return;
    mqtt->transport = schemes[scheme].transport;
    mqtt->port = schemes[scheme].port;
    if (!take_host(reader, node, rest, length, mqtt))
        return;
    const char *path = rest + length;
    bool is_ws = mqtt->transport == MQTT_TRANSPORT_WS || mqtt->transport == MQTT_TRANSPORT_WSS;
    if (!is_ws && *path && strcmp(path, "/") != 0) {
        reader_error(reader, node,
                     "'url' has a path behind the host, which only ws:// and wss:// "
                     "have");
        return;
    }
    free(mqtt->url);
    free(mqtt->path);
    mqtt->url = reader_copy(reader, url);
    mqtt->path = reader_copy(reader, is_ws ? path : "");
}

static void check_tls(struct reader *reader, const struct yaml_node *node,
                      const struct mqtt_settings *mqtt)
{
    const struct yaml_node *tls = node ? yaml_node_get(node, "tls") : NULL;

    if (!tls)
        return;
    if (mqtt->url && tls->n_items &&
        (mqtt->transport == MQTT_TRANSPORT_TCP || mqtt->transport == MQTT_TRANSPORT_WS))
        reader_error(reader, tls, "'tls' is given, but this url is not encrypted; write %s://",
                     mqtt->transport == MQTT_TRANSPORT_TCP ? "mqtts" : "wss");
    if (yaml_node_get(tls, "key") && !yaml_node_get(tls, "certificate"))
        reader_error(reader, yaml_node_get(tls, "key"),
                     "'key' needs the 'certificate' that it belongs to");
}

void check_mqtt(struct reader *reader, const struct yaml_node *node)
{
    const struct mqtt_settings *mqtt = &reader->settings->mqtt;
    const struct yaml_node *password = node ? yaml_node_get(node, "password") : NULL;

    check_tls(reader, node, mqtt);
    /* MQTT 3.1.1 section 3.1.2.9 */
    if (password && !yaml_node_get(node, "username") && mqtt->protocol == 4)
        reader_error(reader, password, "'password' needs a 'username' in MQTT 3.1.1");
}
