/*
 * The range of a part of a composed entity, in the keys that Home Assistant has for it; see
 * discovery_composed.h. Must not know templates.
 */
#include "core/discovery_composed.h"

#include "util/decimal.h"
#include "util/round.h"
#include <math.h>
#include <string.h>

static void key_number(struct json_writer *w, const char *key, double value)
{
    json_write_key(w, key);
    json_write_double(w, value, 6);
}

static void write_temperatures(struct json_writer *w, const struct field_spec *field, double least,
                               double most, bool has_step)
{
    double step = field && field->has_step ? decimal_to_double(field->step)
                  : field && field->scaled ? fabs(decimal_to_double(field->scale))
                                           : 1;

    key_number(w, "min_temp", least);
    key_number(w, "max_temp", most);
    if (has_step)
        key_number(w, "temp_step", step < 0.1 ? 0.1 : step);
    key_number(w, "precision", step < 0.5 ? 0.1 : step < 1 ? 0.5 : 1);
    if (field && field->unit && (strcmp(field->unit, "°C") == 0 || strcmp(field->unit, "°F") == 0))
        discovery_key_string(w, "temperature_unit", field->unit[2] == 'F' ? "F" : "C");
}

static const struct entity_value *value_of(const struct entity_binding *binding, size_t word)
{
    for (size_t i = 0; binding && i < binding->n_values; i++)
        if (binding->values[i].word == word)
            return &binding->values[i];
    return NULL;
}

static void write_position(struct json_writer *w, const struct composed *composed, double least,
                           double most)
{
    const struct entity_binding *binding = composed_binding_of(composed);
    const struct entity_value *open = value_of(binding, 0), *closed = value_of(binding, 1);

    json_write_key(w, "position_open");
    if (open)
        json_write_raw(w, open->value, strlen(open->value));
    else
        json_write_int(w, (int64_t)most);
    json_write_key(w, "position_closed");
    if (closed)
        json_write_raw(w, closed->value, strlen(closed->value));
    else
        json_write_int(w, (int64_t)round_up(least));
}

static void write_mireds(struct json_writer *w, const struct field_spec *field, double least,
                         double most)
{
    bool given = field && field->has_min && field->has_max && least > 0;
    bool kelvin = field && composed_is_kelvin(field);

    if (!given)
        return;
    json_write_key(w, "min_mireds");
    json_write_int(w, (int64_t)round_up(kelvin ? 1e6 / most : least));
    json_write_key(w, "max_mireds");
    json_write_int(w, (int64_t)(kelvin ? 1e6 / least : most));
}

static void write_unit(struct json_writer *w, const struct field_spec *field)
{
    char buf[40];
    const char *unit = field ? discovery_unit(field->unit, buf, sizeof(buf)) : NULL;
    const char *device_class = field ? discovery_number_class(field, unit, field->name) : NULL;

    if (unit)
        discovery_key_string(w, "unit_of_measurement", unit);
    if (device_class)
        discovery_key_string(w, "device_class", device_class);
}

void composed_write_range(struct json_writer *w, const struct composed *composed)
{
    const struct device_settings *device = composed->context->device;
    const struct entity_role *role = composed_role_of(composed);
    const struct entity_binding *target =
        role->command_topic ? entity_target(device, composed->entity, composed->role) : NULL;
    const struct entity_binding *of = target ? target : composed_binding_of(composed);
    const struct entity_binding *read = composed_binding_of(composed);
    const struct field_spec *field = of->command == NO_COMMAND ? entity_field(device, of)
                                     : read && read->command == NO_COMMAND
                                         ? entity_field(device, read)
                                         : NULL;
    double least = 0, most = 100;

    bool known = entity_range(device, of, &least, &most);
    switch (role->range) {
    case ROLE_RANGE_NONE: break;
    case ROLE_RANGE_BRIGHTNESS:
        key_number(w, "brightness_scale", most < 1 ? 1 : round_down(most));
        break;
    case ROLE_RANGE_COLOR_TEMP: write_mireds(w, field, least, most); break;
    case ROLE_RANGE_SPEED:
        key_number(w, "speed_range_min", least < 1 ? 1 : round_up(least));
        key_number(w, "speed_range_max", most < 2 ? 2 : round_down(most));
        break;
    case ROLE_RANGE_TEMPERATURE:
        if (known && strncmp(role->name, "temperature_", 12) != 0)
            write_temperatures(w, field, least, most,
                               strcmp(composed->entity->platform->name, "climate") == 0);
        break;
    case ROLE_RANGE_HUMIDITY:
        key_number(w, "min_humidity", least < 0 ? 0 : least);
        key_number(w, "max_humidity", most > 100 ? 100 : most);
        break;
    case ROLE_RANGE_POSITION: write_position(w, composed, least, most); break;
    case ROLE_RANGE_TILT:
        key_number(w, "tilt_min", round_up(least));
        key_number(w, "tilt_max", round_down(most));
        break;
    case ROLE_RANGE_NUMBER:
        discovery_write_bounds(w, field, known ? least : -1e9, known ? most : 1e9);
        write_unit(w, field);
        break;
    }
}
