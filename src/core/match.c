/* Does what a peer advertises fit what the file asks for? Pure. */
#include "core/world.h"

#include <fnmatch.h>
#include <string.h>

static bool has_service(const struct device_info *info, const struct bt_uuid *uuid)
{
    for (size_t i = 0; i < info->n_uuids; i++)
        if (bt_uuid_equal(&info->uuids[i], uuid))
            return true;
    /* a service may be advertised by its data alone */
    for (size_t i = 0; i < info->n_service_data; i++)
        if (bt_uuid_equal(&info->service_data[i].uuid, uuid))
            return true;
    return false;
}

static bool has_manufacturer(const struct device_info *info, const struct match_settings *match)
{
    for (size_t i = 0; i < info->n_manufacturer; i++) {
        const struct manufacturer_data *data = &info->manufacturer[i];

        if (data->company == match->manufacturer &&
            data->length >= match->manufacturer_prefix_length &&
            (!match->manufacturer_prefix_length || memcmp(data->data, match->manufacturer_prefix,
                                                          match->manufacturer_prefix_length) == 0))
            return true;
    }
    return false;
}

bool match_device(const struct match_settings *match, const struct device_info *info)
{
    if (match->has_address && !bt_address_equal(&match->address, &info->address))
        return false;
    if (match->has_address_type && match->address_type != info->address_type)
        return false;
    /* a connected peer does not advertise, so it is as near as it needs to be */
    if (match->has_min_rssi && !info->connected &&
        (info->rssi == RSSI_UNKNOWN || info->rssi < match->min_rssi))
        return false;
    if (match->name && (!info->name || fnmatch(match->name, info->name, 0) != 0))
        return false;
    for (size_t i = 0; i < match->n_services; i++)
        if (!has_service(info, &match->services[i]))
            return false;
    return !match->has_manufacturer || has_manufacturer(info, match);
}
