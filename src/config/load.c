/* A file into settings; see load.h. Knows what entries mean together. */
#include "config/load.h"

#include "config/merge.h"
#include "config/parts.h"
#include "config/readers.h"
#include "core/topic.h"
#include "util/cleanup.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct settings *, settings_free)
DEFINE_CLEANUP(struct yaml_doc *, yaml_doc_free)

/* ---- bluetooth ---- */

static bool is_adapter_name(const char *text)
{
    return strncmp(text, "hci", 3) == 0 && text[3] && strlen(text) < 16 &&
           !text[3 + strspn(text + 3, "0123456789")];
}

/* false after a diagnostic */
static bool read_selector(struct reader *reader, const struct key *key,
                          const struct yaml_node *node, struct adapter_selector *selector)
{
    if (node->kind == YAML_KIND_SCALAR && is_adapter_name(node->text)) {
        selector->name = reader_copy(reader, node->text);
        return selector->name;
    }
    if (node->kind == YAML_KIND_SCALAR && bt_address_parse(node->text, &selector->address) >= 0)
        return true;
    reader_wrong(reader, key, node, "a name such as hci0 or an address");
    return false;
}

static bool is_same_selector(const struct adapter_selector *a, const struct adapter_selector *b)
{
    if (a->name && b->name)
        return strcmp(a->name, b->name) == 0;
    return !a->name && !b->name && bt_address_equal(&a->address, &b->address);
}

void read_adapters(struct reader *reader, const struct key *key, const struct yaml_node *node,
                   void *target)
{
    struct bluetooth_settings *bluetooth = &((struct settings *)target)->bluetooth;

    if (node->kind == YAML_KIND_SCALAR && strcmp(node->text, "auto") == 0)
        return;
    if (node->kind != YAML_KIND_SEQUENCE || !node->n_items) {
        reader_wrong(reader, key, node, "auto or a list such as [hci0]");
        return;
    }
    if (node->n_items > SETTINGS_MAX_ADAPTERS) {
        reader_error(reader, node, "more than %d adapters", SETTINGS_MAX_ADAPTERS);
        return;
    }
    struct adapter_selector *list = reader_array(reader, node->n_items, sizeof(*list));
    if (!list)
        return;
    bluetooth->adapters = list;
    bluetooth->n_adapters = node->n_items;
    for (size_t i = 0; i < node->n_items; i++) {
        if (!read_selector(reader, key, node->items[i], &list[i]))
            continue;
        for (size_t j = 0; j < i; j++)
            if (is_same_selector(&list[i], &list[j]))
                reader_error(reader, node->items[i], "'%s' is listed twice", node->items[i]->text);
    }
}

void read_adapter(struct reader *reader, const struct key *key, const struct yaml_node *node,
                  void *target)
{
    struct device_settings *device = target;
    struct adapter_selector *selector = reader_array(reader, 1, sizeof(*selector));

    if (!selector)
        return;
    if (!read_selector(reader, key, node, selector)) {
        free(selector);
        return;
    }
    device->adapter = selector;
}

/* ---- gateway ---- */

/* in a container the host name is another one after each start */
static bool is_container(void)
{
    return access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0;
}

/* the short host name, if it can serve as an id; why not, else */
static const char *default_id(const struct config_options *options, char *buf, size_t size)
{
    if (options && options->host_name) {
        snprintf(buf, size, "%s", options->host_name);
    } else if (is_container()) {
        return "the host name of a container changes";
    } else if (gethostname(buf, size) < 0) {
        return "the host name is not known";
    }
    buf[size - 1] = '\0';
    buf[strcspn(buf, ".")] = '\0';
    if (strcmp(buf, "localhost") == 0)
        return "the host is only called localhost";
    if (!topic_is_valid_id(buf) || strlen(buf) > SETTINGS_MAX_ID)
        return "the host name has characters that topics do not allow";
    return NULL;
}

static void check_gateway(struct reader *reader, const struct yaml_node *root,
                          const struct config_options *options)
{
    struct settings *settings = reader->settings;
    const struct yaml_node *gateway = yaml_node_get(root, "gateway");
    char buf[256];

    if (!settings->gateway.id && !(gateway && yaml_node_get(gateway, "id"))) {
        const char *why = default_id(options, buf, sizeof(buf));
        if (why)
            reader_error(reader, gateway ? gateway : root,
                         "'gateway.id' is missing, and %s; give this gateway a name of its own: "
                         "gateway: {id: garage}",
                         why);
        else
            settings->gateway.id = reader_copy(reader, buf);
    }
    if (!settings->mqtt.client_id && settings->gateway.id &&
        asprintf(&settings->mqtt.client_id, "gatt2mqtt-%s", settings->gateway.id) < 0) {
        settings->mqtt.client_id = NULL;
        reader->failed = true;
    }
}

/* ---- profiles and devices ---- */

static const struct yaml_node *entries_of(const struct yaml_node *root, const char *key)
{
    const struct yaml_node *node = yaml_node_get(root, key);

    return node && node->kind == YAML_KIND_MAPPING ? node : NULL;
}

/* every profile by itself, so that one that nobody uses is checked, too */
static void check_profiles(struct reader *reader)
{
    reader->partial = true;
    for (size_t i = 0; reader->profiles && i < reader->profiles->n_items; i++) {
        struct device_settings device = {0};
        read_device(reader, reader->profiles->keys[i], reader->profiles->items[i], &device);
        device_settings_done(&device);
    }
    reader->partial = false;
}

/* the device's mapping with its profile's keys below its own */
static const struct yaml_node *with_profile(struct reader *reader, struct merge_pool *pool,
                                            const struct yaml_node *node)
{
    const struct yaml_node *name = yaml_node_get(node, "profile");
    const struct yaml_node *profile = name && name->kind == YAML_KIND_SCALAR && reader->profiles
                                          ? yaml_node_get(reader->profiles, name->text)
                                          : NULL;

    if (!profile || profile->kind != YAML_KIND_MAPPING)
        return node;
    if (merge_mappings(pool, profile, node, &node) < 0)
        reader->failed = true;
    return node;
}

static const struct yaml_node *address_of(const struct yaml_node *device)
{
    const struct yaml_node *match = yaml_node_get(device, "match");

    return match ? yaml_node_get(match, "address") : NULL;
}

static bool is_same_address(const struct match_settings *a, const struct match_settings *b)
{
    return a->has_address && b->has_address && bt_address_equal(&a->address, &b->address) &&
           (!a->has_address_type || !b->has_address_type || a->address_type == b->address_type);
}

/* against all devices before it */
static void check_against_others(struct reader *reader, const struct yaml_node *names,
                                 const struct yaml_node *node, size_t index)
{
    const struct device_settings *devices = reader->settings->devices;
    const struct yaml_node *name = names->keys[index], *address = address_of(node);

    for (size_t i = 0; i < index; i++) {
        if (address && is_same_address(&devices[i].match, &devices[index].match))
            reader_error(reader, address == address_of(names->items[index]) ? address : name,
                         "'%s' has the same address as '%s' in line %zu; a peer belongs to one "
                         "device",
                         name->text, names->keys[i]->text, names->keys[i]->line);
        if (strcasecmp(names->keys[i]->text, name->text) == 0)
            reader_warning(reader, name,
                           "'%s' and '%s' in line %zu differ only in capital letters; topics tell "
                           "them apart, people may not",
                           name->text, names->keys[i]->text, names->keys[i]->line);
    }
}

static void read_devices(struct reader *reader, const struct yaml_node *names)
{
    struct settings *settings = reader->settings;
    struct merge_pool pool = MERGE_POOL_INIT;

    if (names->n_items > SETTINGS_MAX_DEVICES) {
        reader_error(reader, names, "there are at most %d devices, not %zu", SETTINGS_MAX_DEVICES,
                     names->n_items);
        return;
    }
    settings->devices = reader_array(reader, names->n_items, sizeof(*settings->devices));
    for (size_t i = 0; settings->devices && i < names->n_items; i++) {
        if (reader->failed || reader->n_keys > CONFIG_MAX_KEYS)
            break;
        const struct yaml_node *node = with_profile(reader, &pool, names->items[i]);
        struct device_settings *device = &settings->devices[settings->n_devices++];
        read_device(reader, names->keys[i], node, device);
        device->hash = yaml_node_hash(node);
        check_against_others(reader, names, node, i);
    }
    merge_pool_done(&pool);
}

/* Who is held all the time gives no link back: those who come and go need one more. */
static void check_connections(struct reader *reader, const struct yaml_node *root)
{
    const struct settings *settings = reader->settings;
    const struct yaml_node *bluetooth = yaml_node_get(root, "bluetooth");
    const struct yaml_node *given = bluetooth && bluetooth->kind == YAML_KIND_MAPPING
                                        ? yaml_node_get(bluetooth, "connections")
                                        : NULL;
    size_t n_held = 0, n_others = 0;

    for (size_t i = 0; i < settings->n_devices; i++) {
        const struct device_settings *device = &settings->devices[i];
        if (!device->enabled || (device->gateway && settings->gateway.id &&
                                 strcmp(device->gateway, settings->gateway.id) != 0))
            continue;
        if (device->connection.mode == CONNECTION_MODE_PERSISTENT)
            n_held++;
        else
            n_others++;
    }
    uint64_t n_needed = n_held + (n_others != 0);
    if (n_needed <= settings->bluetooth.connections * MAX_OF(settings->bluetooth.n_adapters, 1U))
        return;
    reader_warning(reader, given ? given : root,
                   "%zu devices are to be connected all the time%s, but %" PRIu64
                   " connections are allowed: the others have to wait; see bluetooth.connections "
                   "and the devices' connection",
                   n_held, n_others ? " and others now and then" : "",
                   settings->bluetooth.connections * MAX_OF(settings->bluetooth.n_adapters, 1U));
}

/* ---- the file ---- */

static void read_root(struct reader *reader, const struct yaml_node *root,
                      const struct config_options *options)
{
    const struct yaml_node *mqtt = yaml_node_get(root, "mqtt");
    const struct yaml_node *devices = entries_of(root, "devices");
    size_t n_errors = reader->n_errors;

    if (root->kind != YAML_KIND_MAPPING) {
        reader_error(reader, root, "the file must be a mapping with 'mqtt' and 'devices', not %s",
                     yaml_node_describe(root));
        return;
    }
    reader->profiles = entries_of(root, "profiles");
    reader_defaults(reader, &config_table, reader->settings);
    reader_section(reader, &config_table, root, root, reader->settings);
    if (!mqtt)
        reader_error(reader, root, "'mqtt' is missing; write mqtt: {url: mqtt://broker.lan}");
    check_mqtt(reader, mqtt);
    check_gateway(reader, root, options);
    check_reply_to(reader, yaml_node_get(root, "commands"));
    check_profiles(reader);
    if (devices && devices->n_items)
        read_devices(reader, devices);
    else if (devices || !yaml_node_get(root, "devices"))
        reader_warning(reader, root, "there are no devices, so that there is nothing to do");
    if (devices)
        check_unique(reader, devices);
    if (reader->n_errors == n_errors && !reader->failed)
        check_connections(reader, root);
}

/* the directory of a file; NULL for the current one */
static int directory_of(const char *path, char **ret_directory)
{
    const char *slash = strrchr(path, '/');

    *ret_directory = NULL;
    if (!slash)
        return 0;
    *ret_directory = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    return *ret_directory ? 0 : -ENOMEM;
}

/* those that stand in the entries of a mapping, to the list */
static size_t passkeys_of(const struct yaml_node *entries, const struct yaml_node **secrets)
{
    size_t n = 0;

    for (size_t i = 0; entries && i < entries->n_items; i++)
        if (entries->items[i]->kind == YAML_KIND_MAPPING &&
            yaml_node_get(entries->items[i], "passkey"))
            secrets[n++] = yaml_node_get(entries->items[i], "passkey");
    return n;
}

/* The hash is published: a secret in the file must not be guessed from it. -ENOMEM */
static int hash_without_secrets(const struct yaml_doc *doc, uint64_t *ret_hash)
{
    const struct yaml_node *root = yaml_doc_root(doc), *mqtt = yaml_node_get(root, "mqtt");
    const struct yaml_node *devices = entries_of(root, "devices");
    const struct yaml_node *profiles = entries_of(root, "profiles");
    const struct yaml_node **secrets =
        calloc(2 + (devices ? devices->n_items : 0) + (profiles ? profiles->n_items : 0),
               sizeof(const struct yaml_node *));
    size_t n = 2;

    if (!secrets)
        return -ENOMEM;
    if (mqtt) {
        secrets[0] = yaml_node_get(mqtt, "password");
        secrets[1] = yaml_node_get(mqtt, "username");
    }
    n += passkeys_of(devices, secrets + n);
    n += passkeys_of(profiles, secrets + n);
    *ret_hash = yaml_doc_hash(doc, secrets, n);
    free(secrets);
    return 0;
}

int config_load(const char *path, const struct config_options *options, struct diags *diags,
                struct settings **ret_settings)
{
    _cleanup_(yaml_doc_freep) struct yaml_doc *doc = NULL;
    _cleanup_(settings_freep) struct settings *settings = NULL;
    _cleanup_(freep) char *directory = NULL;
    int r = yaml_doc_load(path, diags, &doc);

    if (r < 0)
        return r == -ENOMEM ? r : CONFIG_E_INVALID;
    settings = calloc(1, sizeof(*settings));
    if (!settings || directory_of(path, &directory) < 0)
        return -ENOMEM;
    struct reader reader = {.diags = diags,
                            .settings = settings,
                            .directory = directory,
                            .without_credentials = options && options->without_credentials};
    read_root(&reader, yaml_doc_root(doc), options);
    if (reader.failed || diags->failed)
        return -ENOMEM;
    if (diags->n_errors)
        return CONFIG_E_INVALID;
    uint64_t hash;
    r = hash_without_secrets(doc, &hash);
    if (r < 0)
        return r;
    snprintf(settings->hash, sizeof(settings->hash), "%016" PRIx64, hash);
    *ret_settings = TAKE_PTR(settings);
    return 0;
}
