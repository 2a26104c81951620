/* Settings leave nothing behind; the leak checker of the sanitizers is the judge. */
#include "core/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above */
#include <cmocka.h>

static void fill_device(struct device_settings *device)
{
    char **texts[] = {&device->id,    &device->name,    &device->area,      &device->manufacturer,
                      &device->model, &device->gateway, &device->match.name};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        *texts[i] = strdup("x");
    device->match.services = calloc(1, sizeof(*device->match.services));
    device->match.manufacturer_prefix = calloc(1, 1);
    device->adapter = calloc(1, sizeof(*device->adapter));
    device->adapter->name = strdup("hci0");
    device->connection.until = calloc(1, sizeof(*device->connection.until));
    device->characteristics = calloc(1, sizeof(*device->characteristics));
    device->n_characteristics = 1;
    device->characteristics[0].id = strdup("c");
    device->characteristics[0].name = strdup("C");
}

static void settings_free_everything_they_own(void **state)
{
    struct settings *settings = calloc(1, sizeof(*settings));
    char **texts[] = {
        &settings->mqtt.url,           &settings->mqtt.host,
        &settings->mqtt.path,          &settings->mqtt.username,
        &settings->mqtt.password,      &settings->mqtt.client_id,
        &settings->mqtt.tls_ca,        &settings->mqtt.tls_certificate,
        &settings->mqtt.tls_key,       &settings->gateway.id,
        &settings->gateway.base_topic, &settings->home_assistant.prefix,
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        *texts[i] = strdup("x");
    settings->commands.reply_to = calloc(1, sizeof(char *));
    settings->commands.reply_to[0] = strdup("x");
    settings->commands.n_reply_to = 1;
    settings->bluetooth.adapters = calloc(1, sizeof(*settings->bluetooth.adapters));
    settings->bluetooth.adapters[0].name = strdup("hci0");
    settings->bluetooth.n_adapters = 1;
    settings->devices = calloc(2, sizeof(*settings->devices));
    settings->n_devices = 2;
    fill_device(&settings->devices[0]); /* the other one is half-built */
    assert_null(settings_free(settings));
    assert_null(settings_free(NULL));
}

static void what_is_emptied_can_be_emptied_again(void **state)
{
    struct device_settings device = {0}, empty = {0};

    fill_device(&device);
    device_settings_done(&device);
    assert_memory_equal(&device, &empty, sizeof(device));
    device_settings_done(&device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_free_everything_they_own),
        cmocka_unit_test(what_is_emptied_can_be_emptied_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
