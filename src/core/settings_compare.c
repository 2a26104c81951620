/*
 * Two versions of the settings: what of a device has changed. Whether anything has is a matter of
 * the hash that config made of all that the file says about the device, so that a key that is
 * unknown here is never overlooked; only what asks for a new link is compared member by member.
 */
#include "core/settings.h"

#include <string.h>

static bool texts_equal(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool bytes_equal(const void *a, size_t n_a, const void *b, size_t n_b)
{
    return n_a == n_b && (!n_a || memcmp(a, b, n_a) == 0);
}

static bool adapter_equal(const struct adapter_selector *a, const struct adapter_selector *b)
{
    if (!a || !b)
        return a == b;
    return texts_equal(a->name, b->name) && (a->name || bt_address_equal(&a->address, &b->address));
}

bool match_settings_equal(const struct match_settings *a, const struct match_settings *b)
{
    if (a->has_address != b->has_address || a->has_address_type != b->has_address_type ||
        a->has_manufacturer != b->has_manufacturer || a->has_min_rssi != b->has_min_rssi ||
        a->n_services != b->n_services || !texts_equal(a->name, b->name))
        return false;
    for (size_t i = 0; i < a->n_services; i++)
        if (!bt_uuid_equal(&a->services[i], &b->services[i]))
            return false;
    return (!a->has_address || bt_address_equal(&a->address, &b->address)) &&
           (!a->has_address_type || a->address_type == b->address_type) &&
           (!a->has_manufacturer ||
            (a->manufacturer == b->manufacturer &&
             bytes_equal(a->manufacturer_prefix, a->manufacturer_prefix_length,
                         b->manufacturer_prefix, b->manufacturer_prefix_length))) &&
           (!a->has_min_rssi || a->min_rssi == b->min_rssi);
}

/* the same characteristic at the peer, whatever it is called and made of here */
static bool is_same_source(const struct characteristic_settings *a,
                           const struct characteristic_settings *b)
{
    return a->origin == ORIGIN_GATT && b->origin == ORIGIN_GATT && a->handle == b->handle &&
           a->has_flags == b->has_flags && a->index == b->index &&
           a->has_service == b->has_service && a->has_uuid == b->has_uuid &&
           (!a->has_service || bt_uuid_equal(&a->service, &b->service)) &&
           (!a->has_uuid || bt_uuid_equal(&a->uuid, &b->uuid));
}

size_t device_settings_find_same(const struct device_settings *device,
                                 const struct characteristic_settings *characteristic)
{
    size_t found = SIZE_MAX;

    for (size_t i = 0; i < device->n_characteristics; i++) {
        if (!is_same_source(&device->characteristics[i], characteristic))
            continue;
        if (strcmp(device->characteristics[i].id, characteristic->id) == 0)
            return i;
        if (found == SIZE_MAX)
            found = i;
    }
    return found;
}

/* Can what is known of the link serve the new characteristics? */
static bool link_serves(const struct device_settings *old, const struct device_settings *device)
{
    for (size_t i = 0; i < device->n_characteristics; i++) {
        const struct characteristic_settings *characteristic = &device->characteristics[i];

        if (characteristic->origin == ORIGIN_MESSAGE)
            continue; /* comes with the one before it */
        size_t same = device_settings_find_same(old, characteristic);
        if (same == SIZE_MAX ||
            (characteristic->subscribe && old->characteristics[same].subscribe &&
             characteristic->notify != old->characteristics[same].notify))
            return false;
    }
    return true;
}

enum device_change device_settings_compare(const struct device_settings *old,
                                           const struct device_settings *device)
{
    /* a passkey may stand in another file */
    if (old->hash && old->hash == device->hash && texts_equal(old->passkey, device->passkey))
        return DEVICE_CHANGE_NONE;
    if (old->enabled != device->enabled || old->bind != device->bind ||
        old->multiple != device->multiple || !texts_equal(old->gateway, device->gateway) ||
        !match_settings_equal(&old->match, &device->match) ||
        !adapter_equal(old->adapter, device->adapter) ||
        old->connection.mode != device->connection.mode ||
        old->on_connect.hash != device->on_connect.hash || !link_serves(old, device))
        return DEVICE_CHANGE_LINK;
    return DEVICE_CHANGE_CONTENT;
}

static bool mark_equal(const struct frame_mark *a, const struct frame_mark *b)
{
    return bytes_equal(a->data, a->length, b->data, b->length);
}

bool frame_settings_equal(const struct frame_settings *a, const struct frame_settings *b)
{
    return mark_equal(&a->start, &b->start) && mark_equal(&a->end, &b->end) &&
           a->strip_end == b->strip_end && a->length_size == b->length_size &&
           a->length_big_endian == b->length_big_endian && a->length_offset == b->length_offset &&
           a->length_add == b->length_add && a->has_checksum == b->has_checksum &&
           a->checksum == b->checksum && a->checksum_big_endian == b->checksum_big_endian &&
           a->checksum_from == b->checksum_from && a->timeout_ms == b->timeout_ms &&
           a->max == b->max;
}

bool mqtt_settings_equal(const struct mqtt_settings *a, const struct mqtt_settings *b)
{
    return texts_equal(a->url, b->url) && texts_equal(a->username, b->username) &&
           texts_equal(a->password, b->password) && texts_equal(a->client_id, b->client_id) &&
           a->protocol == b->protocol && texts_equal(a->tls_ca, b->tls_ca) &&
           texts_equal(a->tls_certificate, b->tls_certificate) &&
           texts_equal(a->tls_key, b->tls_key) && a->keepalive_ms == b->keepalive_ms;
}
