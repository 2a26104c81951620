/* Formats of the Bluetooth SIG: thermometers, blood, hearts, scales; see sig.h. */
#include "core/sig_table.h"
#include "util/err.h"

#define SFLOAT .type = FIELD_TYPE_SFLOAT
#define FLOAT  .type = FIELD_TYPE_MEDFLOAT32
#define TIME_STAMP(n)                                        \
    {                                                        \
        .name = "time_stamp", .type = FIELD_TYPE_TIME, IF(n) \
    }
#define USER_ID(n)                                       \
    {                                                    \
        .name = "user_id", UINT(1), UNKNOWN(0xff), IF(n) \
    }

/* (°F - 32) * 5 / 9, and 1 kPa = 7.50061683 mmHg, 1 lb = 0.45359237 kg, 1 in = 0.0254 m */
#define FROM_FAHRENHEIT SCALE(5555555556, 10), ADD(-177777777778, 10), ROUND(2)
#define FROM_KPA        SCALE(750061683, 8), ROUND(1)
/* raw values are hundredths of a pound, and tenths of an inch */
#define FROM_LB   SCALE(45359237, 10), ROUND(3)
#define FROM_INCH SCALE(254, 5), ROUND(3)

static const char *const temperature_types[] = {
    NULL,    "armpit", "body", "ear",      "finger", "gastro_intestinal_tract",
    "mouth", "rectum", "toe",  "tympanum",
};
static const char *const body_locations[] = {"other", "chest",    "wrist", "finger",
                                             "hand",  "ear_lobe", "foot"};
static const char *const hr_commands[] = {NULL, "reset_energy_expended"};
static const char *const glucose_types[] = {
    NULL,
    "capillary_whole_blood",
    "capillary_plasma",
    "venous_whole_blood",
    "venous_plasma",
    "arterial_whole_blood",
    "arterial_plasma",
    "undetermined_whole_blood",
    "undetermined_plasma",
    "interstitial_fluid",
    "control_solution",
};
static const char *const glucose_locations[] = {
    NULL,
    "finger",
    "alternate_site_test",
    "earlobe",
    "control_solution",
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
};

static const struct sig_field temperature[] = {
    FLAGS(1),
    {.name = "temperature_measurement_value", FLOAT, IF_NOT(0), MEASURED("°C", "temperature")},
    {.name = "temperature_measurement_value",
     FLOAT,
     IF(0),
     FROM_FAHRENHEIT,
     MEASURED("°C", "temperature")},
    TIME_STAMP(1),
    {.name = "temperature_type", NAMES(temperature_types), IF(2)},
};

#define PRESSURE(name_)                                                        \
    {.name = (name_), SFLOAT, IF_NOT(0), MEASURED("mmHg", "pressure")},        \
    {                                                                          \
        .name = (name_), SFLOAT, IF(0), FROM_KPA, MEASURED("mmHg", "pressure") \
    }

static const struct sig_field blood_pressure[] = {
    FLAGS(1),
    PRESSURE("systolic"),
    PRESSURE("diastolic"),
    PRESSURE("mean_arterial_pressure"),
    TIME_STAMP(1),
    {.name = "pulse_rate", SFLOAT, IF(2), MEASURED("bpm", NULL)},
    USER_ID(3),
    {.name = "measurement_status", UINT(2), IF(4)},
};

static const struct sig_field heart_rate[] = {
    FLAGS(1),
    /* contact is only told where it is supported */
    {.name = "sensor_contact", .type = FIELD_TYPE_BOOL, .at_zero = true, BITS(1, 1), IF(2)},
    {.name = "heart_rate_measurement_value", UINT(1), IF_NOT(0), MEASURED("bpm", NULL)},
    {.name = "heart_rate_measurement_value", UINT(2), IF(0), MEASURED("bpm", NULL)},
    {.name = "energy_expended", UINT(2), IF(3), .unit = "kJ"},
    {.name = "rr_interval",
     UINT(2),
     SCALE(9765625, 10),
     ROUND(4),
     IF(4),
     .rest = true,
     .unit = "s"},
};

static const struct sig_field plx_spot_check[] = {
    FLAGS(1),
    {.name = "spo2", SFLOAT, MEASURED("%", NULL)},
    {.name = "pr", SFLOAT, MEASURED("bpm", NULL)},
    {.name = "timestamp", .type = FIELD_TYPE_TIME, IF(0)},
    {.name = "measurement_status", UINT(2), IF(1)},
    {.name = "device_and_sensor_status", UINT(3), IF(2)},
    {.name = "pulse_amplitude_index", SFLOAT, IF(3), MEASURED("%", NULL)},
};

static const struct sig_field plx_continuous[] = {
    FLAGS(1),
    {.name = "spo2_normal", SFLOAT, MEASURED("%", NULL)},
    {.name = "pr_normal", SFLOAT, MEASURED("bpm", NULL)},
    {.name = "spo2_fast", SFLOAT, IF(0), MEASURED("%", NULL)},
    {.name = "pr_fast", SFLOAT, IF(0), MEASURED("bpm", NULL)},
    {.name = "spo2_slow", SFLOAT, IF(1), MEASURED("%", NULL)},
    {.name = "pr_slow", SFLOAT, IF(1), MEASURED("bpm", NULL)},
    {.name = "measurement_status", UINT(2), IF(2)},
    {.name = "device_and_sensor_status", UINT(3), IF(3)},
    {.name = "pulse_amplitude_index", SFLOAT, IF(4), MEASURED("%", NULL)},
};

/* the raw values are kg/L and mol/L */
static const struct sig_field glucose[] = {
    FLAGS(1),
    {.name = "sequence_number", UINT(2)},
    {.name = "base_time", .type = FIELD_TYPE_TIME},
    {.name = "time_offset", SINT(2), IF(0), .unit = "min"},
    /* as mg/dL; of glucose 1 mol is 180.156 g */
    {.name = "glucose_concentration",
     SFLOAT,
     SCALE(100000, 0),
     ROUND(1),
     IF_BUT(1, 2),
     MEASURED("mg/dL", "blood_glucose_concentration")},
    {.name = "glucose_concentration",
     SFLOAT,
     SCALE(180156, 1),
     ROUND(1),
     IF_AND(1, 2),
     MEASURED("mg/dL", "blood_glucose_concentration")},
    {.name = "type", NAMES(glucose_types), BITS(0, 4), IF(1)},
    {.name = "sample_location", NAMES(glucose_locations), BITS(4, 4), .place = SIG_SAME, IF(1)},
    {.name = "sensor_status_annunciation", UINT(2), IF(3)},
};

static const struct sig_field weight[] = {
    FLAGS(1),
    /* 0xffff: the measurement failed */
    {.name = "weight", UINT(2), SCALE(5, 3), UNKNOWN(0xffff), IF_NOT(0), MEASURED("kg", "weight")},
    {.name = "weight", UINT(2), FROM_LB, UNKNOWN(0xffff), IF(0), MEASURED("kg", "weight")},
    TIME_STAMP(1),
    USER_ID(2),
    {.name = "bmi", UINT(2), SCALE(1, 1), IF(3), MEASURED("kg/m²", NULL)},
    {.name = "height", UINT(2), SCALE(1, 3), IF_BUT(3, 0), .unit = "m", .device_class = "distance"},
    {.name = "height", UINT(2), FROM_INCH, IF_AND(3, 0), .unit = "m", .device_class = "distance"},
};

/* kg or lb, as the flags say */
#define MASS(name_, bit)                                                               \
    {.name = (name_), UINT(2), SCALE(5, 3), IF_BUT(bit, 0), MEASURED("kg", "weight")}, \
    {                                                                                  \
        .name = (name_), UINT(2), FROM_LB, IF_AND(bit, 0), MEASURED("kg", "weight")    \
    }

static const struct sig_field body_composition[] = {
    FLAGS(2),
    /* 0xffff: the measurement failed */
    {.name = "body_fat_percentage", UINT(2), SCALE(1, 1), UNKNOWN(0xffff), MEASURED("%", NULL)},
    TIME_STAMP(1),
    USER_ID(2),
    {.name = "basal_metabolism", UINT(2), IF(3), .unit = "kJ"},
    {.name = "muscle_percentage", UINT(2), SCALE(1, 1), IF(4), MEASURED("%", NULL)},
    MASS("muscle_mass", 5),
    MASS("fat_free_mass", 6),
    MASS("soft_lean_mass", 7),
    MASS("body_water_mass", 8),
    {.name = "impedance", UINT(2), SCALE(1, 1), IF(9), MEASURED("Ω", NULL)},
    MASS("weight", 10),
    {.name = "height",
     UINT(2),
     SCALE(1, 3),
     IF_BUT(11, 0),
     .unit = "m",
     .device_class = "distance"},
    {.name = "height", UINT(2), FROM_INCH, IF_AND(11, 0), .unit = "m", .device_class = "distance"},
};

static const struct sig_format formats[] = {
    FORMAT(0x2A18, "Glucose Measurement", glucose),
    FORMAT(0x2A1C, "Temperature Measurement", temperature),
    SINGLE(0x2A1D, "Temperature Type", NAMES(temperature_types)),
    FORMAT(0x2A1E, "Intermediate Temperature", temperature),
    FORMAT(0x2A35, "Blood Pressure Measurement", blood_pressure),
    FORMAT(0x2A36, "Intermediate Cuff Pressure", blood_pressure),
    FORMAT(0x2A37, "Heart Rate Measurement", heart_rate),
    SINGLE(0x2A38, "Body Sensor Location", NAMES(body_locations)),
    SINGLE(0x2A39, "Heart Rate Control Point", NAMES(hr_commands)),
    FORMAT(0x2A5E, "PLX Spot-Check Measurement", plx_spot_check),
    FORMAT(0x2A5F, "PLX Continuous Measurement", plx_continuous),
    SINGLE(0x2A7E, "Aerobic Heart Rate Lower Limit", UINT(1), .unit = "bpm"),
    SINGLE(0x2A7F, "Aerobic Threshold", UINT(1), .unit = "bpm"),
    SINGLE(0x2A81, "Anaerobic Heart Rate Lower Limit", UINT(1), .unit = "bpm"),
    SINGLE(0x2A82, "Anaerobic Heart Rate Upper Limit", UINT(1), .unit = "bpm"),
    SINGLE(0x2A83, "Anaerobic Threshold", UINT(1), .unit = "bpm"),
    SINGLE(0x2A84, "Aerobic Heart Rate Upper Limit", UINT(1), .unit = "bpm"),
    SINGLE(0x2A8D, "Heart Rate Max", UINT(1), .unit = "bpm"),
    SINGLE(0x2A91, "Maximum Recommended Heart Rate", UINT(1), .unit = "bpm"),
    SINGLE(0x2A92, "Resting Heart Rate", UINT(1), .unit = "bpm"),
    SINGLE(0x2A96, "VO2 Max", UINT(1), .unit = "mL/kg/min"),
    FORMAT(0x2A9C, "Body Composition Measurement", body_composition),
    FORMAT(0x2A9D, "Weight Measurement", weight),
};

const struct sig_table sig_health = {formats, ARRAY_SIZE(formats)};
