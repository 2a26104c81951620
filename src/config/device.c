/* One entry of `devices` or `profiles`. Must not know other entries. */
#include "config/parts.h"
#include "config/readers.h"
#include "config/suggest.h"
#include "core/topic.h"
#include "util/num.h"
#include <stdlib.h>
#include <string.h>

#define MAX_MATCH_SERVICES 8
#define MAX_MATCH_DATA     31 /* bytes: of an advertisement (Core Specification Vol 3 Part C 11) */

void check_id(struct reader *reader, const struct yaml_node *name, const char *what,
              const char *const *reserved)
{
    char shown[SHOWN_SIZE];

    reader_show(name, shown);
    if (!*name->text)
        reader_error(reader, name, "%s needs a name", what);
    else if (!topic_is_valid_id(name->text))
        reader_error(
            reader, name,
            "'%s' stands in topics: letters, digits, '_' and '-' are allowed; write it so, "
            "and put what people read into 'name'",
            name->text);
    else if (strlen(name->text) > SETTINGS_MAX_ID)
        reader_error(reader, name, "the name of %s is longer than %d bytes", what, SETTINGS_MAX_ID);
    for (; *reserved; reserved++)
        if (strcmp(name->text, *reserved) == 0)
            reader_error(reader, name,
                         "%s cannot be called '%s', which has its own meaning in "
                         "topics or payloads; choose another name",
                         what, *reserved);
}

/* ---- match ---- */

void read_match_services(struct reader *reader, const struct key *key, const struct yaml_node *node,
                         void *target)
{
    struct match_settings *match = &((struct device_settings *)target)->match;
    bool is_list = node->kind == YAML_KIND_SEQUENCE;
    size_t n = is_list ? node->n_items : 1;

    if (!n || n > MAX_MATCH_SERVICES) {
        reader_error(reader, node, "'service' has at least one UUID and at most %d",
                     MAX_MATCH_SERVICES);
        return;
    }
    match->services = reader_array(reader, n, sizeof(*match->services));
    for (size_t i = 0; match->services && i < n; i++)
        if (reader_uuid(reader, key->name, is_list ? node->items[i] : node,
                        &match->services[match->n_services]))
            match->n_services++;
}

void read_match_manufacturer(struct reader *reader, const struct key *key,
                             const struct yaml_node *node, void *target)
{
    struct match_settings *match = &((struct device_settings *)target)->match;
    int64_t id;

    if (node->kind == YAML_KIND_MAPPING)
        reader_section(reader, key, node, node, target);
    else if (!yaml_node_is_int(node, &id))
        reader_wrong(reader, key, node, key->form);
    else if (reader_int(reader, key->name, node, 0, 65535, &id))
        match->manufacturer = (uint16_t)id;
}

void read_match_data(struct reader *reader, const struct key *key, const struct yaml_node *node,
                     void *target)
{
    struct match_settings *match = &((struct device_settings *)target)->match;
    uint8_t data[MAX_MATCH_DATA];
    const char *text = yaml_node_string(node);
    size_t length;

    if (!text || num_parse_hex(text, data, sizeof(data), &length) < 0 || !length) {
        reader_wrong(reader, key, node, key->form);
        return;
    }
    free(match->manufacturer_prefix);
    match->manufacturer_prefix = reader_array(reader, length, 1);
    if (!match->manufacturer_prefix)
        return;
    memcpy(match->manufacturer_prefix, data, length);
    match->manufacturer_prefix_length = length;
}

static void check_match(struct reader *reader, const struct yaml_node *name,
                        const struct yaml_node *node, const struct match_settings *match)
{
    const struct yaml_node *mapping = yaml_node_get(node, "match");
    const struct yaml_node *address = mapping ? yaml_node_get(mapping, "address") : NULL;

    if (!address &&
        !(mapping && (yaml_node_get(mapping, "name") || yaml_node_get(mapping, "service") ||
                      yaml_node_get(mapping, "manufacturer"))))
        reader_error(reader, name,
                     "'%s' needs a 'match' with an address, a name, a service or a manufacturer: "
                     "which peer is it?",
                     name->text);
    if (match->has_address && match->has_address_type && match->address_type == BT_ADDRESS_RANDOM &&
        (match->address.b[0] & 0xc0) != 0xc0)
        reader_warning(reader, address,
                       bt_address_is_resolvable(&match->address, match->address_type)
                           ? "this is a resolvable private address, which the peer changes every "
                             "few minutes; match its name or service, or bond with it and write "
                             "its identity address"
                           : "this is a private address, which the peer changes; match its name or "
                             "service");
}

/* ---- the rest ---- */

void read_profile_name(struct reader *reader, const struct key *key, const struct yaml_node *node,
                       void *target)
{
    const char *text = reader_text(reader, key, node);

    if (!text)
        return;
    if (reader->partial) {
        reader_error(reader, node, "a profile cannot build on another one; merge them by '<<'");
        return;
    }
    if (reader->profiles && yaml_node_get(reader->profiles, text))
        return;
    struct suggestion suggestion = suggestion_for(text);
    for (size_t i = 0; reader->profiles && i < reader->profiles->n_items; i++)
        suggestion_offer(&suggestion, reader->profiles->keys[i]->text);
    const char *best = suggestion_best(&suggestion);
    reader_error(reader, node, "there is no profile '%s'%s%s%s", text,
                 best ? "; did you mean '" : " in 'profiles'", best ? best : "", best ? "'?" : "");
}

static void check_reconnect(struct reader *reader, const struct yaml_node *node,
                            const struct device_settings *device)
{
    const struct yaml_node *reconnect = yaml_node_get(node, "reconnect");

    if (reconnect && device->reconnect_min_ms > device->reconnect_max_ms)
        reader_error(reader, reconnect, "'reconnect': min is greater than max (by default 60s)");
}

static void check_passkey(struct reader *reader, const struct yaml_node *node,
                          const struct device_settings *device)
{
    uint32_t passkey;

    if (device->passkey && bt_passkey_parse(device->passkey, strlen(device->passkey), &passkey) < 0)
        reader_error(reader, yaml_node_get(node, "passkey"), "'passkey' must be one to %d digits",
                     BT_PASSKEY_DIGITS);
}

/* ---- connection ---- */

/* The names are looked up when the characteristics are known: resolve_until(). */
void read_until(struct reader *reader, const struct key *key, const struct yaml_node *node,
                void *target)
{
    if (node->kind != YAML_KIND_SEQUENCE || !node->n_items)
        reader_wrong(reader, key, node, key->form);
}

static void resolve_until(struct reader *reader, const struct yaml_node *until,
                          struct device_settings *device)
{
    struct connection_settings *connection = &device->connection;
    char shown[SHOWN_SIZE];

    connection->until = reader_array(reader, until->n_items, sizeof(*connection->until));
    for (size_t i = 0; connection->until && i < until->n_items; i++) {
        const struct yaml_node *item = until->items[i];
        struct suggestion suggestion = suggestion_for(item->text ? item->text : "");
        size_t found =
            item->text ? device_settings_find_characteristic(device, item->text) : SIZE_MAX;

        if (found != SIZE_MAX) {
            connection->until[connection->n_until++] = found;
            continue;
        }
        for (size_t j = 0; item->text && j < device->n_characteristics; j++)
            suggestion_offer(&suggestion, device->characteristics[j].id);
        const char *best = suggestion_best(&suggestion);
        reader_error(reader, item, "'until': there is no characteristic %s%s%s%s",
                     reader_show(item, shown), best ? "; did you mean '" : "", best ? best : "",
                     best ? "'?" : "");
    }
}

/* Which of the ways to be connected a mapping means, by its keys. */
static void read_connection(struct reader *reader, const struct yaml_node *node,
                            struct device_settings *device)
{
    static const struct {
        const char *key;
        enum connection_mode mode;
    } modes[] = {{"every", CONNECTION_MODE_EVERY},
                 {"when_seen", CONNECTION_MODE_WHEN_SEEN},
                 {"on_demand", CONNECTION_MODE_ON_DEMAND}};
    size_t n = 0;

    if (!node || node->kind != YAML_KIND_MAPPING)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        const struct yaml_node *key = yaml_node_get(node, modes[i].key);
        bool on = true;

        if (!key || (yaml_node_is_bool(key, &on) && !on))
            continue;
        device->connection.mode = modes[i].mode;
        n++;
    }
    if (n != 1)
        reader_error(reader, node,
                     "'connection' as a mapping has one of 'every', 'when_seen' and 'on_demand: "
                     "true'%s",
                     n ? ", not several" : "");
    const struct yaml_node *until = yaml_node_get(node, "until");
    if (until && until->kind == YAML_KIND_SEQUENCE && until->n_items && !reader->partial)
        resolve_until(reader, until, device);
}

void read_device(struct reader *reader, const struct yaml_node *name, const struct yaml_node *node,
                 struct device_settings *device)
{
    static const char *const reserved[] = {"bridge", NULL};
    const struct key *key = key_find(&config_table, "devices");
    const struct yaml_node *characteristics = yaml_node_get(node, "characteristics");

    device->id = reader_copy(reader, name->text);
    if (!reader->partial)
        check_id(reader, name, "a device", reserved);
    reader_defaults(reader, key, device);
    reader_section(reader, key, node, name, device);
    if (node->kind != YAML_KIND_MAPPING && !yaml_node_is_null(node))
        return;
    check_reconnect(reader, node, device);
    check_passkey(reader, node, device);
    if (!reader->partial)
        check_match(reader, name, node, &device->match);
    size_t n_errors = reader->n_errors;
    bool has = characteristics && characteristics->kind == YAML_KIND_MAPPING;
    if (has)
        read_characteristics(reader, characteristics, device);
    if (!reader->partial && reader->n_errors == n_errors) {
        uint64_t used = read_sequences(reader, node, device);
        if (reader->n_errors == n_errors)
            read_entities(reader, node, device);
        if (has)
            check_purposes(reader, characteristics, device, used);
    }
    if (reader->partial)
        read_entities(reader, node, device);
    read_connection(reader, yaml_node_get(node, "connection"), device);
    if (!reader->partial && !(characteristics && characteristics->n_items))
        reader_warning(reader, name,
                       "'%s' has no characteristics: only its status will be published",
                       name->text);
}
