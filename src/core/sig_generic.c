/* Formats of the Bluetooth SIG: the device itself, time, people, numbers of any kind; see sig.h. */
#include "core/sig_table.h"
#include "util/err.h"

static const char *const alert_levels[] = {"no_alert", "mild_alert", "high_alert"};
static const char *const days[] = {NULL,       "monday", "tuesday",  "wednesday",
                                   "thursday", "friday", "saturday", "sunday"};
static const char *const genders[] = {"male", "female", "unspecified"};
static const char *const hands[] = {"left_handed", "right_handed", "ambidextrous", "unspecified"};
static const char *const vendor_sources[] = {NULL, "bluetooth_sig", "usb"};
static const char *const time_sources[] = {"unknown", "ntp",    "gps",      "radio",
                                           "manual",  "atomic", "cellular", "not_synchronized"};

#define TEXT .type = FIELD_TYPE_STRING
#define TIME .type = FIELD_TYPE_TIME
#define DAYS NAMES(days), UNKNOWN(0)

static const struct sig_field system_id[] = {
    {.name = "manufacturer_defined_identifier", UINT(5)},
    {.name = "organizationally_unique_identifier", UINT(3)},
};
static const struct sig_field pnp_id[] = {
    {.name = "vendor_id_source", NAMES(vendor_sources)},
    {.name = "vendor_id", UINT(2)},
    {.name = "product_id", UINT(2)},
    {.name = "product_version", UINT(2)},
};
static const struct sig_field day_date_time[] = {
    {.name = "date_time", TIME},
    {.name = "day_of_week", DAYS},
};
static const struct sig_field exact_time[] = {
    {.name = "date_time", TIME},
    {.name = "day_of_week", DAYS},
    {.name = "fractions256", UINT(1)},
};
static const struct sig_field current_time[] = {
    {.name = "date_time", TIME},
    {.name = "day_of_week", DAYS},
    {.name = "fractions256", UINT(1)},
    {.name = "adjust_reason", UINT(1)},
};
static const struct sig_field local_time[] = {
    /* in quarters of an hour */
    {.name = "time_zone", SINT(1), SCALE(25, 2), VALID(-48, 56), UNKNOWN(-128), .unit = "h"},
    {.name = "dst_offset", UINT(1), SCALE(25, 2), VALID(0, 8), UNKNOWN(255), .unit = "h"},
};
static const struct sig_field reference_time[] = {
    {.name = "time_source", NAMES(time_sources)},
    /* eighths of a second; 254: more than those */
    {.name = "time_accuracy", UINT(1), SCALE(125, 3), VALID(0, 253), UNKNOWN(255), .unit = "s"},
    {.name = "days_since_update", UINT(1), .unit = "d"},
    /* 255: 255 days or more */
    {.name = "hours_since_update", UINT(1), VALID(0, 23), UNKNOWN(255), .unit = "h"},
};
static const struct sig_field date_of_birth[] = {
    {.name = "year", UINT(2), VALID(1582, 9999), UNKNOWN(0)},
    {.name = "month", UINT(1), VALID(1, 12), UNKNOWN(0)},
    {.name = "day", UINT(1), VALID(1, 31), UNKNOWN(0)},
};
static const struct sig_field preferred_parameters[] = {
    /* units of 1.25 ms and 10 ms */
    {.name = "minimum_connection_interval",
     UINT(2),
     SCALE(125, 2),
     VALID(6, 3200),
     UNKNOWN(0xffff),
     .unit = "ms"},
    {.name = "maximum_connection_interval",
     UINT(2),
     SCALE(125, 2),
     VALID(6, 3200),
     UNKNOWN(0xffff),
     .unit = "ms"},
    {.name = "peripheral_latency", UINT(2), VALID(0, 499)},
    {.name = "connection_supervision_timeout",
     UINT(2),
     SCALE(10, 0),
     VALID(10, 3200),
     UNKNOWN(0xffff),
     .unit = "ms"},
};

static const struct sig_format formats[] = {
    SINGLE(0x2A00, "Device Name", TEXT),
    SINGLE(0x2A01, "Appearance", UINT(2)),
    FORMAT(0x2A04, "Peripheral Preferred Connection Parameters", preferred_parameters),
    SINGLE(0x2A06, "Alert Level", NAMES(alert_levels)),
    SINGLE(0x2A07, "Tx Power Level", SINT(1), .unit = "dBm"),
    SINGLE(0x2A08, "Date Time", TIME),
    SINGLE(0x2A09, "Day of Week", DAYS),
    FORMAT(0x2A0A, "Day Date Time", day_date_time),
    FORMAT(0x2A0C, "Exact Time 256", exact_time),
    SINGLE(0x2A0D, "DST Offset", UINT(1), SCALE(25, 2), VALID(0, 8), UNKNOWN(255), .unit = "h"),
    SINGLE(0x2A0E, "Time Zone", SINT(1), SCALE(25, 2), VALID(-48, 56), UNKNOWN(-128), .unit = "h"),
    FORMAT(0x2A0F, "Local Time Information", local_time),
    FORMAT(0x2A14, "Reference Time Information", reference_time),
    SINGLE(0x2A19, "Battery Level", UINT(1), VALID(0, 100), MEASURED("%", "battery")),
    SINGLE(0x2A21, "Measurement Interval", UINT(2), .unit = "s", .device_class = "duration"),
    FORMAT(0x2A23, "System ID", system_id),
    SINGLE(0x2A24, "Model Number String", TEXT),
    SINGLE(0x2A25, "Serial Number String", TEXT),
    SINGLE(0x2A26, "Firmware Revision String", TEXT),
    SINGLE(0x2A27, "Hardware Revision String", TEXT),
    SINGLE(0x2A28, "Software Revision String", TEXT),
    SINGLE(0x2A29, "Manufacturer Name String", TEXT),
    FORMAT(0x2A2B, "Current Time", current_time),
    FORMAT(0x2A50, "PnP ID", pnp_id),
    SINGLE(0x2A80, "Age", UINT(1), .unit = "a"),
    FORMAT(0x2A85, "Date of Birth", date_of_birth),
    SINGLE(0x2A87, "Email Address", TEXT),
    SINGLE(0x2A8A, "First Name", TEXT),
    SINGLE(0x2A8C, "Gender", NAMES(genders)),
    SINGLE(0x2A8E, "Height", UINT(2), SCALE(1, 2), .unit = "m", .device_class = "distance"),
    SINGLE(0x2A8F, "Hip Circumference", UINT(2), SCALE(1, 2), .unit = "m",
           .device_class = "distance"),
    SINGLE(0x2A90, "Last Name", TEXT),
    SINGLE(0x2A97, "Waist Circumference", UINT(2), SCALE(1, 2), .unit = "m",
           .device_class = "distance"),
    SINGLE(0x2A98, "Weight", UINT(2), SCALE(5, 3), .unit = "kg", .device_class = "weight"),
    SINGLE(0x2A99, "Database Change Increment", UINT(4)),
    SINGLE(0x2A9A, "User Index", UINT(1), UNKNOWN(0xff)),
    SINGLE(0x2AA2, "Language", TEXT),
    SINGLE(0x2AE2, "Boolean", .type = FIELD_TYPE_BOOL, VALID(0, 1)),
    SINGLE(0x2AEA, "Count 16", UINT(2), UNKNOWN(0xffff)),
    SINGLE(0x2AEB, "Count 24", UINT(3), UNKNOWN(0xffffff)),
    SINGLE(0x2AF9, "Generic Level", UINT(2)),
    SINGLE(0x2B16, "Time Second 16", UINT(2), UNKNOWN(0xffff), .unit = "s",
           .device_class = "duration"),
    SINGLE(0x2B17, "Time Second 8", UINT(1), UNKNOWN(0xff), .unit = "s",
           .device_class = "duration"),
    SINGLE(0x2B4A, "Handedness", NAMES(hands)),
};

const struct sig_table sig_generic = {formats, ARRAY_SIZE(formats)};
