/* Readers for dictionaries of properties; see props.h. */
#include "bluez/props.h"

#include <string.h>

/* an advertisement's longest field (Core Specification Vol 3 Part C 11: extended, 254 bytes, and
 * what BlueZ may chain); more is no advertisement */
#define ADVERTISED_MAX 1650

static int enter_variant(sd_bus_message *m, const char **ret_type)
{
    char outer;

    int r = sd_bus_message_peek_type(m, &outer, ret_type);
    if (r < 0)
        return r;
    if (r == 0 || outer != SD_BUS_TYPE_VARIANT)
        return -EBADMSG;
    return sd_bus_message_enter_container(m, SD_BUS_TYPE_VARIANT, *ret_type);
}

/* Enters the variant that `m` stands at, lets `take` read it and leaves it. `likely`: its type, as
 * far as can be told, which spares a look; or NULL. */
static int take_variant(sd_bus_message *m, const char *key, const char *likely, props_fn take,
                        void *userdata)
{
    const char *type = likely;
    int r = -ENXIO;

    if (likely)
        r = sd_bus_message_enter_container(m, SD_BUS_TYPE_VARIANT, likely);
    if (r == -ENXIO)
        r = enter_variant(m, &type);
    if (r < 0)
        return r;
    r = take(userdata, key, type, m);
    if (r == 0)
        r = sd_bus_message_skip(m, type);
    if (r < 0)
        return r;
    return sd_bus_message_exit_container(m);
}

int props_value(sd_bus_message *m, props_fn take, void *userdata)
{
    int r = take_variant(m, NULL, NULL, take, userdata);

    return r < 0 ? r : 0;
}

int props_each_likely(sd_bus_message *m, const char *likely_key, const char *likely_type,
                      props_fn take, void *userdata)
{
    int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, "{sv}");

    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    for (;;) {
        const char *key;
        r = sd_bus_message_enter_container(m, SD_BUS_TYPE_DICT_ENTRY, "sv");
        if (r < 0)
            return r;
        if (r == 0)
            break;
        r = sd_bus_message_read_basic(m, SD_BUS_TYPE_STRING, &key);
        if (r < 0)
            return r;
        bool likely = likely_key && strcmp(key, likely_key) == 0;
        r = take_variant(m, key, likely ? likely_type : NULL, take, userdata);
        if (r < 0)
            return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
            return r;
    }
    r = sd_bus_message_exit_container(m);
    return r < 0 ? r : 0;
}

int props_each(sd_bus_message *m, props_fn take, void *userdata)
{
    return props_each_likely(m, NULL, NULL, take, userdata);
}

int props_each_name(sd_bus_message *m, void (*take)(void *userdata, const char *name),
                    void *userdata)
{
    const char *name;
    int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, "s");

    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    while ((r = sd_bus_message_read_basic(m, SD_BUS_TYPE_STRING, &name)) > 0)
        take(userdata, name);
    if (r < 0)
        return r;
    r = sd_bus_message_exit_container(m);
    return r < 0 ? r : 0;
}

int props_bool(sd_bus_message *m, const char *type, bool *ret_value)
{
    int value; /* sd-bus' b */

    if (strcmp(type, "b") != 0)
        return 0;
    int r = sd_bus_message_read_basic(m, SD_BUS_TYPE_BOOLEAN, &value);
    if (r < 0)
        return r;
    *ret_value = value != 0;
    return 1;
}

int props_int16(sd_bus_message *m, const char *type, int16_t *ret_value)
{
    if (strcmp(type, "n") != 0)
        return 0;
    return sd_bus_message_read_basic(m, SD_BUS_TYPE_INT16, ret_value);
}

int props_uint16(sd_bus_message *m, const char *type, uint16_t *ret_value)
{
    if (strcmp(type, "q") != 0)
        return 0;
    return sd_bus_message_read_basic(m, SD_BUS_TYPE_UINT16, ret_value);
}

int props_string(sd_bus_message *m, const char *type, const char **ret_value)
{
    if (strcmp(type, "s") != 0)
        return 0;
    return sd_bus_message_read_basic(m, SD_BUS_TYPE_STRING, ret_value);
}

int props_bytes(sd_bus_message *m, const char *type, const uint8_t **ret_data, size_t *ret_length)
{
    const void *data;
    size_t length;

    if (strcmp(type, "ay") != 0)
        return 0;
    int r = sd_bus_message_read_array(m, SD_BUS_TYPE_BYTE, &data, &length);
    if (r < 0)
        return r;
    *ret_data = data;
    *ret_length = length;
    return 1;
}

/* A value of the right type that does not parse is taken and changes nothing. */
int props_address(sd_bus_message *m, const char *type, struct bt_address *ret_address)
{
    struct bt_address address;
    const char *text;
    int r = props_string(m, type, &text);

    if (r > 0 && bt_address_parse(text, &address) == 0)
        *ret_address = address;
    return r;
}

int props_uuid(sd_bus_message *m, const char *type, struct bt_uuid *ret_uuid)
{
    struct bt_uuid uuid;
    const char *text;
    int r = props_string(m, type, &text);

    if (r > 0 && bt_uuid_parse(text, &uuid) == 0)
        *ret_uuid = uuid;
    return r;
}

struct uuid_list {
    struct bt_uuid *uuids;
    size_t size, n;
};

static void take_uuid(void *userdata, const char *name)
{
    struct uuid_list *list = userdata;

    if (list->n < list->size && bt_uuid_parse(name, &list->uuids[list->n]) == 0)
        list->n++;
}

int props_uuids(sd_bus_message *m, const char *type, struct bt_uuid *uuids, size_t size,
                size_t *ret_n)
{
    struct uuid_list list = {.uuids = uuids, .size = size};

    if (strcmp(type, "as") != 0)
        return 0;
    int r = props_each_name(m, take_uuid, &list);
    if (r < 0)
        return r;
    *ret_n = list.n;
    return 1;
}

struct data_list {
    struct manufacturer_data *manufacturer;
    struct service_data *service;
    size_t size, n;
    uint16_t company;
};

static int take_manufacturer(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    struct data_list *list = userdata;
    const uint8_t *data;
    size_t length;
    int r = props_bytes(m, type, &data, &length);

    if (r > 0 && list->n < list->size && length <= ADVERTISED_MAX)
        list->manufacturer[list->n++] = (struct manufacturer_data){
            .company = list->company,
            .data = data,
            .length = length,
        };
    return r;
}

int props_manufacturer(sd_bus_message *m, const char *type, struct manufacturer_data *list,
                       size_t size, size_t *ret_n)
{
    struct data_list found = {.manufacturer = list, .size = size};

    if (strcmp(type, "a{qv}") != 0)
        return 0;
    int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, "{qv}");
    if (r < 0)
        return r;
    while ((r = sd_bus_message_enter_container(m, SD_BUS_TYPE_DICT_ENTRY, "qv")) > 0) {
        r = sd_bus_message_read_basic(m, SD_BUS_TYPE_UINT16, &found.company);
        if (r < 0)
            return r;
        r = take_variant(m, NULL, NULL, take_manufacturer, &found);
        if (r < 0)
            return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
            return r;
    }
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    if (r < 0)
        return r;
    *ret_n = found.n;
    return 1;
}

static int take_service_data(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    struct data_list *list = userdata;
    struct bt_uuid uuid;
    const uint8_t *data;
    size_t length;
    int r = props_bytes(m, type, &data, &length);

    if (r > 0 && list->n < list->size && length <= ADVERTISED_MAX && bt_uuid_parse(key, &uuid) == 0)
        list->service[list->n++] = (struct service_data){
            .uuid = uuid,
            .data = data,
            .length = length,
        };
    return r;
}

int props_service_data(sd_bus_message *m, const char *type, struct service_data *list, size_t size,
                       size_t *ret_n)
{
    struct data_list found = {.service = list, .size = size};

    if (strcmp(type, "a{sv}") != 0)
        return 0;
    int r = props_each(m, take_service_data, &found);
    if (r < 0)
        return r;
    *ret_n = found.n;
    return 1;
}

static void take_flag(void *userdata, const char *name)
{
    static const struct {
        const char *name;
        enum gatt_flag flag;
    } names[] = {
        {"broadcast", GATT_FLAG_BROADCAST},
        {"read", GATT_FLAG_READ},
        {"write-without-response", GATT_FLAG_WRITE_COMMAND},
        {"write", GATT_FLAG_WRITE},
        {"notify", GATT_FLAG_NOTIFY},
        {"indicate", GATT_FLAG_INDICATE},
        {"authenticated-signed-writes", GATT_FLAG_SIGNED_WRITE},
        {"extended-properties", GATT_FLAG_EXTENDED},
    };
    uint16_t *flags = userdata;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(names[i].name, name) == 0)
            *flags |= (uint16_t)names[i].flag;
}

int props_gatt_flags(sd_bus_message *m, const char *type, uint16_t *ret_flags)
{
    uint16_t flags = 0;

    if (strcmp(type, "as") != 0)
        return 0;
    int r = props_each_name(m, take_flag, &flags);
    if (r < 0)
        return r;
    *ret_flags = flags;
    return 1;
}
