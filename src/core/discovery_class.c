/*
 * The device classes of Home Assistant with the units and state classes that it takes with them
 * (homeassistant/components/sensor/const.py). Must not know documents.
 */
#include "core/discovery_part.h"

#include "util/err.h"
#include <stdio.h>
#include <string.h>

enum states { /* which state classes go with it */
              STATES_MEASUREMENT,
              STATES_TOTALS, /* and no measurement */
              STATES_ANY,
              STATES_ANGLE,
};

static const struct {
    const char *name;
    const char *units; /* between blanks; "": it has none */
    enum states states;
} classes[] = {
    {"temperature", " °C °F K ", STATES_MEASUREMENT},
    {"humidity", " % ", STATES_MEASUREMENT},
    {"moisture", " % ", STATES_MEASUREMENT},
    {"battery", " % ", STATES_MEASUREMENT},
    {"power_factor", " % ", STATES_MEASUREMENT},
    {"pressure", " Pa hPa kPa mbar cbar bar mmHg inHg psi ", STATES_MEASUREMENT},
    {"atmospheric_pressure", " Pa hPa kPa mbar cbar bar mmHg inHg psi ", STATES_MEASUREMENT},
    {"illuminance", " lx ", STATES_MEASUREMENT},
    {"irradiance", " W/m² ", STATES_MEASUREMENT},
    {"signal_strength", " dB dBm ", STATES_MEASUREMENT},
    {"sound_pressure", " dB dBA ", STATES_MEASUREMENT},
    {"voltage", " V mV μV kV ", STATES_MEASUREMENT},
    {"current", " A mA ", STATES_MEASUREMENT},
    {"power", " W mW kW ", STATES_MEASUREMENT},
    {"apparent_power", " VA ", STATES_MEASUREMENT},
    {"frequency", " Hz kHz MHz GHz ", STATES_MEASUREMENT},
    {"energy", " Wh kWh MWh J kJ MJ ", STATES_TOTALS},
    {"weight", " g kg mg μg oz lb st ", STATES_ANY},
    {"distance", " mm cm m km in ft yd mi ", STATES_ANY},
    {"duration", " μs ms s min h d ", STATES_ANY},
    {"speed", " m/s km/h mm/s ft/s mph kn in/s ", STATES_MEASUREMENT},
    {"wind_speed", " m/s km/h ft/s mph kn ", STATES_MEASUREMENT},
    {"wind_direction", " ° ", STATES_ANGLE},
    {"precipitation", " mm cm in ", STATES_ANY},
    {"carbon_dioxide", " ppm ", STATES_MEASUREMENT},
    {"carbon_monoxide", " ppm ", STATES_MEASUREMENT},
    {"pm1", " μg/m³ ", STATES_MEASUREMENT},
    {"pm10", " μg/m³ ", STATES_MEASUREMENT},
    {"pm25", " μg/m³ ", STATES_MEASUREMENT},
    {"pm4", " μg/m³ ", STATES_MEASUREMENT},
    {"volatile_organic_compounds", " μg/m³ mg/m³ ", STATES_MEASUREMENT},
    {"volatile_organic_compounds_parts", " ppb ppm ", STATES_MEASUREMENT},
    {"conductivity", " μS/cm mS/cm S/cm ", STATES_MEASUREMENT},
    {"blood_glucose_concentration", " mg/dL mmol/L ", STATES_MEASUREMENT},
    {"volume", " L mL m³ ft³ gal ", STATES_TOTALS},
    {"volume_storage", " L mL m³ ft³ gal ", STATES_MEASUREMENT},
    {"water", " L m³ ft³ gal ", STATES_TOTALS},
    {"gas", " m³ ft³ ", STATES_TOTALS},
    {"aqi", "", STATES_MEASUREMENT},
    {"ph", "", STATES_MEASUREMENT},
};

/* Units that leave no doubt; of a percentage it is the name that tells. */
static const struct {
    const char *units, *name, *device_class;
} inferred[] = {
    {" °C °F ", NULL, "temperature"},   {" V mV μV kV ", NULL, "voltage"},
    {" A mA ", NULL, "current"},        {" W mW kW ", NULL, "power"},
    {" Wh kWh MWh ", NULL, "energy"},   {" Pa hPa kPa mbar bar ", NULL, "pressure"},
    {" lx ", NULL, "illuminance"},      {" W/m² ", NULL, "irradiance"},
    {" dBm ", NULL, "signal_strength"}, {" Hz kHz MHz GHz ", NULL, "frequency"},
    {" % ", "humidity", "humidity"},    {" % ", "moisture", "moisture"},
    {" % ", "battery", "battery"},      {" % ", "battery_level", "battery"},
};

static const char *const binary_classes[] = {
    "battery",
    "battery_charging",
    "carbon_monoxide",
    "cold",
    "connectivity",
    "door",
    "garage_door",
    "gas",
    "heat",
    "light",
    "lock",
    "moisture",
    "motion",
    "moving",
    "occupancy",
    "opening",
    "plug",
    "power",
    "presence",
    "problem",
    "running",
    "safety",
    "smoke",
    "sound",
    "tamper",
    "update",
    "vibration",
    "window",
};

static bool is_one_of(const char *text, const char *const *list, size_t n)
{
    for (size_t i = 0; text && i < n; i++)
        if (strcmp(text, list[i]) == 0)
            return true;
    return false;
}

bool discovery_is_binary_class(const char *device_class)
{
    return is_one_of(device_class, binary_classes, ARRAY_SIZE(binary_classes));
}

bool discovery_is_event_class(const char *device_class)
{
    static const char *const list[] = {"button", "doorbell", "motion"};

    return is_one_of(device_class, list, ARRAY_SIZE(list));
}

bool discovery_is_switch_class(const char *device_class)
{
    static const char *const list[] = {"outlet", "switch"};

    return is_one_of(device_class, list, ARRAY_SIZE(list));
}

const char *discovery_unit(const char *unit, char *buf, size_t size)
{
    if (!unit || strncmp(unit, "\u00b5", 2) != 0)
        return unit;
    snprintf(buf, size, "\u03bc%s", unit + 2);
    return buf;
}

static bool has_unit(const char *units, const char *unit)
{
    char word[40];

    if (!unit || !*units || strchr(unit, ' '))
        return !unit && !*units;
    snprintf(word, sizeof(word), " %s ", unit);
    return strstr(units, word) != NULL;
}

const char *discovery_number_class(const struct field_spec *field, const char *unit,
                                   const char *name)
{
    for (size_t i = 0; field->device_class && i < ARRAY_SIZE(classes); i++)
        if (strcmp(classes[i].name, field->device_class) == 0)
            return has_unit(classes[i].units, unit) ? classes[i].name : NULL;
    for (size_t i = 0; !field->device_class && unit && i < ARRAY_SIZE(inferred); i++)
        if (has_unit(inferred[i].units, unit) &&
            (!inferred[i].name || strcmp(inferred[i].name, name) == 0))
            return inferred[i].device_class;
    return NULL;
}

static bool may_be(enum states states, const char *state_class)
{
    bool total = strcmp(state_class, "total") == 0;
    bool increasing = strcmp(state_class, "total_increasing") == 0;

    switch (states) {
    case STATES_MEASUREMENT: return strcmp(state_class, "measurement") == 0;
    case STATES_TOTALS: return total || increasing;
    case STATES_ANY: return total || increasing || strcmp(state_class, "measurement") == 0;
    case STATES_ANGLE: return strcmp(state_class, "measurement_angle") == 0;
    }
    return false;
}

const char *discovery_state_class(const struct field_spec *field, const char *device_class,
                                  const char *unit)
{
    static const char *const known[] = {"measurement", "measurement_angle", "total",
                                        "total_increasing"};
    enum states states = STATES_ANY;

    for (size_t i = 0; device_class && i < ARRAY_SIZE(classes); i++)
        if (strcmp(classes[i].name, device_class) == 0)
            states = classes[i].states;
    for (size_t i = 0; field->state_class && i < ARRAY_SIZE(known); i++)
        if (strcmp(known[i], field->state_class) == 0) {
            bool angle = strcmp(known[i], "measurement_angle") == 0;
            if (angle && (!unit || strcmp(unit, "°") != 0))
                return NULL;
            return may_be(states, known[i]) || (angle && !device_class) ? known[i] : NULL;
        }
    if (states == STATES_MEASUREMENT || states == STATES_ANY)
        return unit || device_class ? "measurement" : NULL;
    return states == STATES_ANGLE ? "measurement_angle" : NULL;
}
