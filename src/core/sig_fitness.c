/* Formats of the Bluetooth SIG: bicycles, running, machines of a gym; see sig.h. */
#include "core/sig_table.h"
#include "util/err.h"

/* 1/1024 s and 1/2048 s, 1/256 m/s, 1/32 Nm: exact, then as many digits as tell them apart */
#define PER_1024 SCALE(9765625, 10), ROUND(4)
#define PER_2048 SCALE(48828125, 11), ROUND(4)
#define PER_256  SCALE(390625, 8), ROUND(3)
#define PER_32   SCALE(3125, 5), ROUND(3)

#define ENERGY(bit)                                                                     \
    {.name = "total_energy", UINT(2), UNKNOWN(0xffff), IF(bit), .unit = "kcal"},        \
        {.name = "energy_per_hour", UINT(2), UNKNOWN(0xffff), IF(bit), .unit = "kcal"}, \
    {                                                                                   \
        .name = "energy_per_minute", UINT(1), UNKNOWN(0xff), IF(bit), .unit = "kcal"    \
    }
/*
 * Of the machines' data the Fitness Machine Service 1.0 counts, as machines follow it: the
 * Supplement says other sizes of resistance level and of a treadmill's pace since.
 */
/* what all machines end with */
#define SESSION(bit)                                                                               \
    {.name = "heart_rate", UINT(1), IF(bit), MEASURED("bpm", NULL)},                               \
        {.name = "metabolic_equivalent", UINT(1), SCALE(1, 1), IF((bit) + 1)},                     \
        {.name = "elapsed_time", UINT(2), IF((bit) + 2), .unit = "s", .device_class = "duration"}, \
    {                                                                                              \
        .name = "remaining_time", UINT(2), IF((bit) + 3), .unit = "s", .device_class = "duration"  \
    }

static const char *const sensor_locations[] = {
    "other",       "top_of_shoe", "in_shoe",     "hip",       "front_wheel",  "left_crank",
    "right_crank", "left_pedal",  "right_pedal", "front_hub", "rear_dropout", "chainstay",
    "rear_wheel",  "rear_hub",    "chest",       "spider",    "chain_ring",
};
static const char *const training_states[] = {
    "other",
    "idle",
    "warming_up",
    "low_intensity_interval",
    "high_intensity_interval",
    "recovery_interval",
    "isometric",
    "heart_rate_control",
    "fitness_test",
    "speed_outside_of_control_region_low",
    "speed_outside_of_control_region_high",
    "cool_down",
    "watt_control",
    "manual_mode",
    "pre_workout",
    "post_workout",
};

static const struct sig_field rsc[] = {
    FLAGS(1),
    {.name = "running", .type = FIELD_TYPE_BOOL, .at_zero = true, BITS(2, 1)},
    {.name = "instantaneous_speed", UINT(2), PER_256, MEASURED("m/s", "speed")},
    {.name = "instantaneous_cadence", UINT(1), MEASURED("1/min", NULL)},
    {.name = "instantaneous_stride_length",
     UINT(2),
     SCALE(1, 2),
     IF(0),
     .unit = "m",
     .device_class = "distance"},
    {.name = "total_distance",
     UINT(4),
     SCALE(1, 1),
     IF(1),
     .unit = "m",
     .device_class = "distance"},
};

static const struct sig_field csc[] = {
    FLAGS(1),
    {.name = "cumulative_wheel_revolutions", UINT(4), IF(0)},
    {.name = "last_wheel_event_time", UINT(2), PER_1024, IF(0), .unit = "s"},
    {.name = "cumulative_crank_revolutions", UINT(2), IF(1)},
    {.name = "last_crank_event_time", UINT(2), PER_1024, IF(1), .unit = "s"},
};

static const struct sig_field cycling_power[] = {
    FLAGS(2),
    {.name = "instantaneous_power", SINT(2), MEASURED("W", "power")},
    {.name = "pedal_power_balance", UINT(1), SCALE(5, 1), VALID(0, 200), IF(0), .unit = "%"},
    {.name = "accumulated_torque", UINT(2), PER_32, IF(2), .unit = "Nm"},
    {.name = "cumulative_wheel_revolutions", UINT(4), IF(4)},
    {.name = "last_wheel_event_time", UINT(2), PER_2048, IF(4), .unit = "s"},
    {.name = "cumulative_crank_revolutions", UINT(2), IF(5)},
    {.name = "last_crank_event_time", UINT(2), PER_1024, IF(5), .unit = "s"},
    {.name = "maximum_force_magnitude", SINT(2), IF(6), .unit = "N"},
    {.name = "minimum_force_magnitude", SINT(2), IF(6), .unit = "N"},
    {.name = "maximum_torque_magnitude", SINT(2), PER_32, IF(7), .unit = "Nm"},
    {.name = "minimum_torque_magnitude", SINT(2), PER_32, IF(7), .unit = "Nm"},
    /* two of 12 bits in three bytes */
    {.name = "maximum_angle", UINT(3), BITS(0, 12), IF(8), .unit = "°"},
    {.name = "minimum_angle", UINT(3), BITS(12, 12), .place = SIG_SAME, IF(8), .unit = "°"},
    {.name = "top_dead_spot_angle", UINT(2), IF(9), .unit = "°"},
    {.name = "bottom_dead_spot_angle", UINT(2), IF(10), .unit = "°"},
    {.name = "accumulated_energy", UINT(2), IF(11), .unit = "kJ"},
};

static const struct sig_field indoor_bike[] = {
    FLAGS(2),
    {.name = "instantaneous_speed", UINT(2), SCALE(1, 2), IF_NOT(0), MEASURED("km/h", "speed")},
    {.name = "average_speed", UINT(2), SCALE(1, 2), IF(1), MEASURED("km/h", "speed")},
    {.name = "instantaneous_cadence", UINT(2), SCALE(5, 1), IF(2), MEASURED("1/min", NULL)},
    {.name = "average_cadence", UINT(2), SCALE(5, 1), IF(3), MEASURED("1/min", NULL)},
    {.name = "total_distance", UINT(3), IF(4), .unit = "m", .device_class = "distance"},
    {.name = "resistance_level", SINT(2), IF(5)},
    {.name = "instantaneous_power", SINT(2), IF(6), MEASURED("W", "power")},
    {.name = "average_power", SINT(2), IF(7), MEASURED("W", "power")},
    ENERGY(8),
    SESSION(9),
};

static const struct sig_field treadmill[] = {
    FLAGS(2),
    {.name = "instantaneous_speed", UINT(2), SCALE(1, 2), IF_NOT(0), MEASURED("km/h", "speed")},
    {.name = "average_speed", UINT(2), SCALE(1, 2), IF(1), MEASURED("km/h", "speed")},
    {.name = "total_distance", UINT(3), IF(2), .unit = "m", .device_class = "distance"},
    {.name = "inclination", SINT(2), SCALE(1, 1), UNKNOWN(0x7fff), IF(3), .unit = "%"},
    {.name = "ramp_angle_setting", SINT(2), SCALE(1, 1), UNKNOWN(0x7fff), IF(3), .unit = "°"},
    {.name = "positive_elevation_gain", UINT(2), SCALE(1, 1), IF(4), .unit = "m"},
    {.name = "negative_elevation_gain", UINT(2), SCALE(1, 1), IF(4), .unit = "m"},
    {.name = "instantaneous_pace", UINT(1), SCALE(1, 1), IF(5), .unit = "km/min"},
    {.name = "average_pace", UINT(1), SCALE(1, 1), IF(6), .unit = "km/min"},
    ENERGY(7),
    SESSION(8),
    {.name = "force_on_belt", SINT(2), UNKNOWN(0x7fff), IF(12), .unit = "N"},
    {.name = "power_output", SINT(2), UNKNOWN(0x7fff), IF(12), MEASURED("W", "power")},
};

static const struct sig_field cross_trainer[] = {
    FLAGS(3),
    {.name = "instantaneous_speed", UINT(2), SCALE(1, 2), IF_NOT(0), MEASURED("km/h", "speed")},
    {.name = "average_speed", UINT(2), SCALE(1, 2), IF(1), MEASURED("km/h", "speed")},
    {.name = "total_distance", UINT(3), IF(2), .unit = "m", .device_class = "distance"},
    {.name = "step_per_minute", UINT(2), IF(3), MEASURED("1/min", NULL)},
    {.name = "average_step_rate", UINT(2), IF(3), MEASURED("1/min", NULL)},
    {.name = "stride_count", UINT(2), SCALE(1, 1), IF(4)},
    {.name = "positive_elevation_gain", UINT(2), IF(5), .unit = "m"},
    {.name = "negative_elevation_gain", UINT(2), IF(5), .unit = "m"},
    {.name = "inclination", SINT(2), SCALE(1, 1), UNKNOWN(0x7fff), IF(6), .unit = "%"},
    {.name = "ramp_angle_setting", SINT(2), SCALE(1, 1), UNKNOWN(0x7fff), IF(6), .unit = "°"},
    {.name = "resistance_level", SINT(2), SCALE(1, 1), IF(7)},
    {.name = "instantaneous_power", SINT(2), IF(8), MEASURED("W", "power")},
    {.name = "average_power", SINT(2), IF(9), MEASURED("W", "power")},
    ENERGY(10),
    SESSION(11),
};

static const struct sig_field rower[] = {
    FLAGS(2),
    {.name = "stroke_rate", UINT(1), SCALE(5, 1), IF_NOT(0), MEASURED("1/min", NULL)},
    {.name = "stroke_count", UINT(2), IF_NOT(0)},
    {.name = "average_stroke_rate", UINT(1), SCALE(5, 1), IF(1), MEASURED("1/min", NULL)},
    {.name = "total_distance", UINT(3), IF(2), .unit = "m", .device_class = "distance"},
    {.name = "instantaneous_pace", UINT(2), UNKNOWN(0xffff), IF(3), .unit = "s"},
    {.name = "average_pace", UINT(2), UNKNOWN(0xffff), IF(4), .unit = "s"},
    {.name = "instantaneous_power", SINT(2), IF(5), MEASURED("W", "power")},
    {.name = "average_power", SINT(2), IF(6), MEASURED("W", "power")},
    {.name = "resistance_level", SINT(2), IF(7)},
    ENERGY(8),
    SESSION(9),
};

static const struct sig_field training_status[] = {
    FLAGS(1),
    {.name = "training_status", NAMES(training_states)},
    {.name = "training_status_string", .type = FIELD_TYPE_STRING, IF(0)},
};

static const struct sig_field speed_range[] = {
    {.name = "minimum_speed", UINT(2), SCALE(1, 2), .unit = "km/h"},
    {.name = "maximum_speed", UINT(2), SCALE(1, 2), .unit = "km/h"},
    {.name = "minimum_increment", UINT(2), SCALE(1, 2), .unit = "km/h"},
};

static const struct sig_field power_range[] = {
    {.name = "minimum_power", SINT(2), .unit = "W"},
    {.name = "maximum_power", SINT(2), .unit = "W"},
    {.name = "minimum_increment", UINT(2), .unit = "W"},
};

static const struct sig_format formats[] = {
    FORMAT(0x2A53, "RSC Measurement", rsc),
    FORMAT(0x2A5B, "CSC Measurement", csc),
    SINGLE(0x2A5D, "Sensor Location", NAMES(sensor_locations)),
    FORMAT(0x2A63, "Cycling Power Measurement", cycling_power),
    FORMAT(0x2ACD, "Treadmill Data", treadmill),
    FORMAT(0x2ACE, "Cross Trainer Data", cross_trainer),
    FORMAT(0x2AD1, "Rower Data", rower),
    FORMAT(0x2AD2, "Indoor Bike Data", indoor_bike),
    FORMAT(0x2AD3, "Training Status", training_status),
    FORMAT(0x2AD4, "Supported Speed Range", speed_range),
    FORMAT(0x2AD8, "Supported Power Range", power_range),
};

const struct sig_table sig_fitness = {formats, ARRAY_SIZE(formats)};
