/* Names by 16-bit UUID; see gatt_names.h. */
#include "core/gatt_names.h"

#include "core/sig.h"

struct name {
    uint16_t uuid;
    const char *name;
};

/* Assigned Numbers 3.4.1 */
static const struct name services[] = {
    {0x1800, "GAP"},
    {0x1801, "GATT"},
    {0x1802, "Immediate Alert"},
    {0x1803, "Link Loss"},
    {0x1804, "Tx Power"},
    {0x1805, "Current Time"},
    {0x1808, "Glucose"},
    {0x1809, "Health Thermometer"},
    {0x180a, "Device Information"},
    {0x180d, "Heart Rate"},
    {0x180f, "Battery"},
    {0x1810, "Blood Pressure"},
    {0x1811, "Alert Notification"},
    {0x1812, "Human Interface Device"},
    {0x1814, "Running Speed and Cadence"},
    {0x1815, "Automation IO"},
    {0x1816, "Cycling Speed and Cadence"},
    {0x1818, "Cycling Power"},
    {0x1819, "Location and Navigation"},
    {0x181a, "Environmental Sensing"},
    {0x181b, "Body Composition"},
    {0x181c, "User Data"},
    {0x181d, "Weight Scale"},
    {0x181e, "Bond Management"},
    {0x181f, "Continuous Glucose Monitoring"},
    {0x1822, "Pulse Oximeter"},
    {0x1826, "Fitness Machine"},
    {0x183a, "Insulin Delivery"},
    {0x183b, "Binary Sensor"},
};

/* Assigned Numbers 3.8: those that are in no table of sig.h */
static const struct name characteristics[] = {
    {0x2a00, "Device Name"},
    {0x2a01, "Appearance"},
    {0x2a04, "Peripheral Preferred Connection Parameters"},
    {0x2a05, "Service Changed"},
    {0x2a23, "System ID"},
    {0x2a24, "Model Number String"},
    {0x2a25, "Serial Number String"},
    {0x2a26, "Firmware Revision String"},
    {0x2a27, "Hardware Revision String"},
    {0x2a28, "Software Revision String"},
    {0x2a29, "Manufacturer Name String"},
    {0x2a50, "PnP ID"},
    {0x2b29, "Client Supported Features"},
    {0x2b2a, "Database Hash"},
    {0x2b3a, "Server Supported Features"},
};

/* Assigned Numbers 3.7 */
static const struct name descriptors[] = {
    {0x2900, "Characteristic Extended Properties"},
    {0x2901, "Characteristic User Description"},
    {0x2902, "Client Characteristic Configuration"},
    {0x2903, "Server Characteristic Configuration"},
    {0x2904, "Characteristic Presentation Format"},
    {0x2905, "Characteristic Aggregate Format"},
    {0x2906, "Valid Range"},
    {0x2907, "External Report Reference"},
    {0x2908, "Report Reference"},
};

static const char *find(const struct name *names, size_t n, uint16_t uuid)
{
    for (size_t i = 0; i < n; i++)
        if (names[i].uuid == uuid)
            return names[i].name;
    return NULL;
}

const char *gatt_name(enum gatt_attribute_kind kind, const struct bt_uuid *uuid)
{
    uint16_t number = bt_uuid_to_u16(uuid);
    const char *name;

    if (!number)
        return NULL;
    switch (kind) {
    case GATT_ATTRIBUTE_SERVICE: return find(services, ARRAY_SIZE(services), number);
    case GATT_ATTRIBUTE_DESCRIPTOR: return find(descriptors, ARRAY_SIZE(descriptors), number);
    case GATT_ATTRIBUTE_CHARACTERISTIC: break;
    }
    name = sig_name(number);
    return name ? name : find(characteristics, ARRAY_SIZE(characteristics), number);
}
