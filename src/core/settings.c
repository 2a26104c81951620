/* The way out of the settings; see settings.h. Config fills them. */
#include "core/settings.h"

#include <stdlib.h>
#include <string.h>

static void adapter_selector_done(struct adapter_selector *adapter)
{
    free(adapter->name);
}

void characteristic_settings_done(struct characteristic_settings *characteristic)
{
    free(characteristic->id);
    free(characteristic->name);
    schema_free(characteristic->schema);
    free(characteristic->home_assistant);
    *characteristic = (struct characteristic_settings){0};
}

static void match_settings_done(struct match_settings *match)
{
    free(match->name);
    free(match->services);
    free(match->manufacturer_prefix);
}

static void operand_done(struct step_operand *operand)
{
    if (operand->value.kind == VALUE_STRING)
        free((void *)operand->value.s.data);
}

static void steps_free(struct step_settings *steps, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct step_settings *step = &steps[i];

        free(step->data);
        for (size_t j = 0; j < step->n_fields; j++)
            operand_done(&step->fields[j].operand);
        free(step->fields);
        free(step->source);
        for (size_t j = 0; j < step->n_where; j++) {
            free(step->where[j].field);
            operand_done(&step->where[j].equals);
        }
        free(step->where);
        steps_free(step->steps, step->n_steps);
    }
    free(steps);
}

void sequence_settings_done(struct sequence_settings *sequence)
{
    steps_free(sequence->steps, sequence->n_steps);
    *sequence = (struct sequence_settings){0};
}

void command_settings_done(struct command_settings *command)
{
    free(command->id);
    free(command->name);
    schema_free(command->parameters);
    sequence_settings_done(&command->sequence);
    *command = (struct command_settings){0};
}

void entity_settings_done(struct entity_settings *entity)
{
    free(entity->id);
    free(entity->name);
    free(entity->home_assistant);
    for (size_t i = 0; i < entity->n_bindings; i++) {
        struct entity_binding *binding = &entity->bindings[i];
        free(binding->value);
        for (size_t j = 0; j < binding->n_values; j++)
            free(binding->values[j].value);
        free(binding->values);
    }
    free(entity->bindings);
    *entity = (struct entity_settings){0};
}

size_t device_settings_find_characteristic(const struct device_settings *device, const char *id)
{
    for (size_t i = 0; i < device->n_characteristics; i++)
        if (strcmp(device->characteristics[i].id, id) == 0)
            return i;
    return SIZE_MAX;
}

/* a secret does not stay behind in freed memory */
static void secret_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void device_settings_done(struct device_settings *device)
{
    free(device->id);
    free(device->name);
    free(device->area);
    free(device->manufacturer);
    free(device->model);
    free(device->gateway);
    secret_free(device->passkey);
    match_settings_done(&device->match);
    if (device->adapter)
        adapter_selector_done(device->adapter);
    free(device->adapter);
    free(device->connection.until);
    for (size_t i = 0; i < device->n_characteristics; i++)
        characteristic_settings_done(&device->characteristics[i]);
    free(device->characteristics);
    sequence_settings_done(&device->on_connect);
    sequence_settings_done(&device->poll);
    sequence_settings_done(&device->keep_alive);
    for (size_t i = 0; i < device->n_commands; i++)
        command_settings_done(&device->commands[i]);
    free(device->commands);
    for (size_t i = 0; i < device->n_entities; i++)
        entity_settings_done(&device->entities[i]);
    free(device->entities);
    free(device->home_assistant);
    *device = (struct device_settings){0};
}

static void mqtt_settings_done(struct mqtt_settings *mqtt)
{
    free(mqtt->url);
    free(mqtt->host);
    free(mqtt->path);
    free(mqtt->username);
    secret_free(mqtt->password);
    free(mqtt->client_id);
    free(mqtt->tls_ca);
    free(mqtt->tls_certificate);
    free(mqtt->tls_key);
}

size_t device_settings_characteristic_of(const struct device_settings *device, size_t index)
{
    while (index && device->characteristics[index].origin == ORIGIN_MESSAGE)
        index--;
    return index;
}

struct settings *settings_free(struct settings *settings)
{
    if (!settings)
        return NULL;
    mqtt_settings_done(&settings->mqtt);
    free(settings->gateway.id);
    free(settings->gateway.base_topic);
    for (size_t i = 0; i < settings->commands.n_reply_to; i++)
        free(settings->commands.reply_to[i]);
    free(settings->commands.reply_to);
    free(settings->home_assistant.prefix);
    for (size_t i = 0; i < settings->bluetooth.n_adapters; i++)
        adapter_selector_done(&settings->bluetooth.adapters[i]);
    free(settings->bluetooth.adapters);
    for (size_t i = 0; i < settings->n_devices; i++)
        device_settings_done(&settings->devices[i]);
    free(settings->devices);
    free(settings);
    return NULL;
}
