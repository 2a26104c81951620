/* Formats of the Bluetooth SIG: the environment, light, electricity; see sig.h. */
#include "core/sig_table.h"
#include "util/err.h"

static const char *const trends[] = {
    "unknown",
    "continuously_falling",
    "continuously_rising",
    "falling_then_steady",
    "rising_then_steady",
    "falling_before_a_lesser_rise",
    "falling_before_a_greater_rise",
    "rising_before_a_greater_fall",
    "rising_before_a_lesser_fall",
    "steady",
};

static const struct sig_field flux_2d[] = {
    {.name = "x_axis", SINT(2), SCALE(1, 1), .unit = "μT"},
    {.name = "y_axis", SINT(2), SCALE(1, 1), .unit = "μT"},
};
static const struct sig_field flux_3d[] = {
    {.name = "x_axis", SINT(2), SCALE(1, 1), .unit = "μT"},
    {.name = "y_axis", SINT(2), SCALE(1, 1), .unit = "μT"},
    {.name = "z_axis", SINT(2), SCALE(1, 1), .unit = "μT"},
};

/* Of gases and dust the SIG counts in kg/m³ and parts of one: here μg/m³, as consumers expect. */
#define DENSITY .type = FIELD_TYPE_SFLOAT, SCALE(1000000000, 0), ROUND(3)

static const struct sig_format formats[] = {
    SINGLE(0x2A2C, "Magnetic Declination", UINT(2), SCALE(1, 2), VALID(0, 35999), .unit = "°"),
    SINGLE(0x2A6C, "Elevation", SINT(3), SCALE(1, 2), MEASURED("m", "distance")),
    SINGLE(0x2A6D, "Pressure", UINT(4), SCALE(1, 1), MEASURED("Pa", "pressure")),
    SINGLE(0x2A6E, "Temperature", SINT(2), SCALE(1, 2), VALID(-27315, 32767), UNKNOWN(-0x8000),
           MEASURED("°C", "temperature")),
    SINGLE(0x2A6F, "Humidity", UINT(2), SCALE(1, 2), VALID(0, 10000), UNKNOWN(0xffff),
           MEASURED("%", "humidity")),
    SINGLE(0x2A70, "True Wind Speed", UINT(2), SCALE(1, 2), MEASURED("m/s", "wind_speed")),
    SINGLE(0x2A71, "True Wind Direction", UINT(2), SCALE(1, 2), VALID(0, 35999), .unit = "°"),
    SINGLE(0x2A72, "Apparent Wind Speed", UINT(2), SCALE(1, 2), MEASURED("m/s", "wind_speed")),
    SINGLE(0x2A73, "Apparent Wind Direction", UINT(2), SCALE(1, 2), VALID(0, 35999), .unit = "°"),
    SINGLE(0x2A74, "Gust Factor", UINT(1), SCALE(1, 1), .state_class = "measurement"),
    SINGLE(0x2A75, "Pollen Concentration", UINT(3), MEASURED("1/m³", NULL)),
    SINGLE(0x2A76, "UV Index", UINT(1), MEASURED("UV index", NULL)),
    SINGLE(0x2A77, "Irradiance", UINT(2), SCALE(1, 1), MEASURED("W/m²", "irradiance")),
    SINGLE(0x2A78, "Rainfall", UINT(2), MEASURED("mm", "precipitation")),
    SINGLE(0x2A79, "Wind Chill", SINT(1), MEASURED("°C", "temperature")),
    SINGLE(0x2A7A, "Heat Index", SINT(1), MEASURED("°C", "temperature")),
    SINGLE(0x2A7B, "Dew Point", SINT(1), MEASURED("°C", "temperature")),
    FORMAT(0x2AA0, "Magnetic Flux Density - 2D", flux_2d),
    FORMAT(0x2AA1, "Magnetic Flux Density - 3D", flux_3d),
    SINGLE(0x2AA3, "Barometric Pressure Trend", NAMES(trends), .device_class = "enum"),
    SINGLE(0x2AE9, "Correlated Color Temperature", UINT(2), VALID(800, 65534), UNKNOWN(0xffff),
           MEASURED("K", NULL)),
    SINGLE(0x2AEE, "Electric Current", UINT(2), SCALE(1, 2), UNKNOWN(0xffff),
           MEASURED("A", "current")),
    SINGLE(0x2AF2, "Energy", UINT(3), UNKNOWN(0xffffff), .unit = "kWh", .device_class = "energy",
           .state_class = "total_increasing"),
    SINGLE(0x2AFB, "Illuminance", UINT(3), SCALE(1, 2), UNKNOWN(0xffffff),
           MEASURED("lx", "illuminance")),
    SINGLE(0x2B04, "Percentage 8", UINT(1), SCALE(5, 1), VALID(0, 200), UNKNOWN(0xff),
           MEASURED("%", NULL)),
    SINGLE(0x2B05, "Power", UINT(3), SCALE(1, 1), VALID(0, 0xfffffd), UNKNOWN(0xffffff),
           MEASURED("W", "power")),
    SINGLE(0x2B0D, "Temperature 8", SINT(1), SCALE(5, 1), UNKNOWN(0x7f),
           MEASURED("°C", "temperature")),
    SINGLE(0x2B18, "Voltage", UINT(2), SCALE(15625, 6), VALID(0, 0xff80), UNKNOWN(0xffff), ROUND(3),
           MEASURED("V", "voltage")),
    SINGLE(0x2B8C, "CO2 Concentration", UINT(2), UNKNOWN(0xffff),
           MEASURED("ppm", "carbon_dioxide")),
    SINGLE(0x2BCF, "Ammonia Concentration", DENSITY, MEASURED("μg/m³", NULL)),
    SINGLE(0x2BD5, "Particulate Matter - PM1 Concentration", DENSITY, MEASURED("μg/m³", "pm1")),
    SINGLE(0x2BD6, "Particulate Matter - PM2.5 Concentration", DENSITY, MEASURED("μg/m³", "pm25")),
    SINGLE(0x2BD7, "Particulate Matter - PM10 Concentration", DENSITY, MEASURED("μg/m³", "pm10")),
    SINGLE(0x2BE4, "Noise", UINT(1), UNKNOWN(0xff), MEASURED("dB", "sound_pressure")),
    SINGLE(0x2BE7, "VOC Concentration", UINT(2), UNKNOWN(0xffff),
           MEASURED("ppb", "volatile_organic_compounds_parts")),
};

const struct sig_table sig_environment = {formats, ARRAY_SIZE(formats)};
