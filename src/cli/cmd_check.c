/*
 * gatt2mqtt check; see cli.h: what is wrong with the configuration, or what would be published
 * where. Shows no secrets.
 */
#include "cli/cli.h"

#include "cli/check_commands.h"
#include "cli/check_entities.h"
#include "config/load.h"
#include "config/table.h"
#include "core/sig.h"
#include "util/strbuf.h"
#include "util/time.h"
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* columns on a terminal: characters, not bytes */
static size_t width_of(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void put_padded(struct strbuf *out, const char *text, size_t width)
{
    strbuf_puts(out, text);
    for (size_t n = width_of(text); n < width; n++)
        strbuf_putc(out, ' ');
}

/* ---- fields ---- */

static void put_decimal(struct strbuf *out, struct decimal value)
{
    uint64_t mantissa = value.mantissa < 0 ? -(uint64_t)value.mantissa : (uint64_t)value.mantissa;
    uint64_t unit = 1;

    for (unsigned i = 0; i < value.decimals; i++)
        unit *= 10;
    strbuf_printf(out, "%s%" PRIu64, value.mantissa < 0 ? "-" : "", mantissa / unit);
    if (value.decimals)
        strbuf_printf(out, ".%0*" PRIu64, value.decimals, mantissa % unit);
}

/* "uint16 big-endian, bits 4..7, * 0.01 + 20" */
static void put_type(struct strbuf *out, const struct field_spec *array)
{
    const struct field_spec *field = array->scalar_elements ? &array->element->fields[0] : array;

    strbuf_puts(out, field->type == FIELD_TYPE_ARRAY ? "objects"
                                                     : field_type_name(field->type, field->size));
    if (field->length != FIELD_LENGTH_REST &&
        (field->type == FIELD_TYPE_STRING || field->type == FIELD_TYPE_BYTES))
        strbuf_printf(out, "[%zu]", field->length);
    if (array->repeat == FIELD_REPEAT_TIMES)
        strbuf_printf(out, ", %zu times", array->repeat_times);
    else if (array->repeat == FIELD_REPEAT_FIELD)
        strbuf_printf(out, ", '%s' times", array->repeat_field);
    else if (array->repeat == FIELD_REPEAT_REST)
        strbuf_puts(out, ", to the end");
    if (field->big_endian)
        strbuf_puts(out, " big-endian");
    if (field->has_bits && field->bit_count == 1)
        strbuf_printf(out, ", bit %u", field->bit_first);
    else if (field->has_bits)
        strbuf_printf(out, ", bits %u..%u", field->bit_first,
                      field->bit_first + field->bit_count - 1);
    if (field->scale.mantissa != 1 || field->scale.decimals) {
        strbuf_puts(out, " * ");
        put_decimal(out, field->scale);
    }
    if (field->add.mantissa) {
        struct decimal add = field->add;
        strbuf_puts(out, add.mantissa < 0 ? " - " : " + ");
        add.mantissa = add.mantissa < 0 ? -add.mantissa : add.mantissa;
        put_decimal(out, add);
    }
}

static void put_bound(struct strbuf *out, const char *name, bool given, struct decimal value)
{
    if (!given)
        return;
    strbuf_printf(out, "%s%s ", out->length ? ", " : "", name);
    put_decimal(out, value);
}

static void put_note(struct strbuf *out, const char *note)
{
    strbuf_printf(out, "%s%s", out->length ? ", " : "", note);
}

static void put_condition(struct strbuf *out, const struct field_when *when)
{
    if (!when->field)
        return;
    strbuf_printf(out, "%sif ", out->length ? ", " : "");
    if (when->has_mask)
        strbuf_printf(out, "%s say so", when->field);
    else if (when->has_bit)
        strbuf_printf(out, "bit %u of %s is %s", when->bit, when->field,
                      when->value ? "set" : "not set");
    else if (when->equals_name)
        strbuf_printf(out, "%s is %s", when->field, when->equals_name);
    else
        strbuf_printf(out, "%s is %" PRId64, when->field, when->equals);
}

/* const or default */
static void put_own(struct strbuf *out, const struct field_spec *field)
{
    const char *name = field->has_const ? "always" : "by default";

    if (!field->has_const && !field->has_default)
        return;
    if (field->type == FIELD_TYPE_STRING || field->type == FIELD_TYPE_BYTES) {
        put_note(out, name);
        strbuf_putc(out, ' ');
        if (field->type == FIELD_TYPE_STRING)
            strbuf_append(out, field->own_data, field->own_length);
        else
            strbuf_hex(out, field->own_data, field->own_length);
        return;
    }
    put_bound(out, name, true, field->has_const ? field->const_value : field->default_value);
}

static void put_computed(struct strbuf *out, const struct field_spec *field)
{
    switch (field->compute) {
    case FIELD_COMPUTE_NONE: return;
    case FIELD_COMPUTE_CHECKSUM: put_note(out, checksum_name(field->checksum)); return;
    case FIELD_COMPUTE_LENGTH_REST: put_note(out, "the number of bytes behind it"); return;
    case FIELD_COMPUTE_LENGTH_ALL: put_note(out, "the number of all bytes"); return;
    case FIELD_COMPUTE_COUNTER: put_note(out, "counts what is written"); return;
    case FIELD_COMPUTE_NOW: put_note(out, "written as the time now"); return;
    }
}

/* names, bounds, when it is there, and whether it is published */
static void put_notes(struct strbuf *out, const struct field_spec *field)
{
    const struct field_spec *named = field->scalar_elements ? &field->element->fields[0] : field;

    for (size_t i = 0; i < named->n_enums; i++)
        strbuf_printf(out, "%s%s", i ? " | " : "", named->enums[i].name);
    put_bound(out, "at least", field->has_min, field->min);
    put_bound(out, "at most", field->has_max, field->max);
    put_bound(out, "in steps of", field->has_step, field->step);
    put_own(out, field);
    put_computed(out, field);
    put_condition(out, &field->when);
    if (!field->publish)
        put_note(out, "not published");
}

struct widths {
    size_t name, type, unit;
};

static void print_field(struct strbuf *out, const struct field_spec *field, size_t indent,
                        const struct widths *widths)
{
    struct strbuf type = STRBUF_INIT, notes = STRBUF_INIT;

    put_type(&type, field);
    put_notes(&notes, field);
    strbuf_printf(out, "%*s", (int)indent, "");
    put_padded(out, field->name, widths->name + 2);
    put_padded(out, strbuf_str(&type), widths->type + 2);
    put_padded(out, field->unit ? field->unit : "", widths->unit + 2);
    strbuf_puts(out, strbuf_str(&notes));
    while (out->length && out->data[out->length - 1] == ' ')
        strbuf_truncate(out, out->length - 1);
    strbuf_putc(out, '\n');
    strbuf_done(&type);
    strbuf_done(&notes);
}

/* the fields of an array's objects stand below it */
static void print_fields(struct strbuf *out, const struct schema *schema, size_t indent)
{
    struct widths widths = {0};

    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *field = &schema->fields[i];
        struct strbuf type = STRBUF_INIT;

        put_type(&type, field);
        widths.name = MAX_OF(widths.name, width_of(field->name));
        widths.type = MAX_OF(widths.type, width_of(strbuf_str(&type)));
        widths.unit = MAX_OF(widths.unit, field->unit ? width_of(field->unit) : 0);
        strbuf_done(&type);
    }
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *field = &schema->fields[i];

        print_field(out, field, indent, &widths);
        if (field->element && !field->scalar_elements)
            print_fields(out, field->element, indent + 2);
    }
}

/* ---- characteristics ---- */

static const char *payload_text(const struct characteristic_settings *characteristic)
{
    switch (characteristic->payload) {
    case PAYLOAD_JSON: return characteristic->schema ? "JSON" : "JSON with the bytes in hex";
    case PAYLOAD_VALUE: return characteristic->schema ? "the bare value" : "hex";
    case PAYLOAD_RAW: return "the bytes";
    case PAYLOAD_HEX: return "hex";
    }
    return "";
}

static void print_source(struct strbuf *out, const struct characteristic_settings *characteristic)
{
    char uuid[BT_UUID_TEXT_SIZE];

    strbuf_puts(out, "    from        ");
    if (characteristic->has_uuid) {
        bt_uuid_format_short(&characteristic->uuid, uuid);
        const char *name = sig_name(bt_uuid_to_u16(&characteristic->uuid));
        strbuf_printf(out, "characteristic %s", uuid);
        if (name)
            strbuf_printf(out, " (%s)", name);
        strbuf_puts(out, characteristic->handle ? ", " : "");
    }
    if (characteristic->handle)
        strbuf_printf(out, "handle 0x%04x", characteristic->handle);
    if (characteristic->index >= 0)
        strbuf_printf(out, ", number %" PRId32, characteristic->index);
    if (characteristic->has_service) {
        bt_uuid_format_short(&characteristic->service, uuid);
        strbuf_printf(out, "%sof service %s",
                      bt_uuid_to_u16(&characteristic->service) ? " " : "\n                ", uuid);
    }
    strbuf_putc(out, '\n');
}

/* "10m", not "10m00s" */
static void put_duration(struct strbuf *out, uint64_t ms)
{
    char text[32];

    time_format_duration(ms, text, sizeof(text));
    size_t n = strlen(text);
    if (n > 4 && strchr("mh", text[n - 4]) && strncmp(text + n - 3, "00", 2) == 0)
        text[n - 3] = '\0';
    strbuf_puts(out, text);
}

/* "if changed, at most every 10s, at least every 5m, valid for 15m" */
static void print_rules(struct strbuf *out, const struct characteristic_settings *characteristic)
{
    const struct rules_settings *rules = &characteristic->publish;

    if (rules->on_change)
        strbuf_puts(out, ", if changed");
    if (rules->min_interval_ms) {
        strbuf_puts(out, ", at most every ");
        put_duration(out, rules->min_interval_ms);
    }
    if (rules->heartbeat_ms) {
        strbuf_puts(out, ", at least every ");
        put_duration(out, rules->heartbeat_ms);
    }
    if (characteristic->stale_after_ms) {
        strbuf_puts(out, ", valid for ");
        put_duration(out, characteristic->stale_after_ms);
    }
}

static void print_occasions(struct strbuf *out,
                            const struct characteristic_settings *characteristic)
{
    const char *comma = "";

    strbuf_puts(out, "    published   ");
    if (characteristic->subscribe) {
        strbuf_puts(out, "when notified");
        comma = ", ";
    }
    if (characteristic->read_on_connect) {
        strbuf_printf(out, "%sread on connect", comma);
        comma = ", ";
    }
    if (characteristic->read_every_ms) {
        strbuf_printf(out, "%sread every ", comma);
        put_duration(out, characteristic->read_every_ms);
        comma = ", ";
    }
    if (characteristic->read_by_steps) {
        strbuf_printf(out, "%swhen steps read it", comma);
        comma = ", ";
    }
    strbuf_puts(out, *comma ? "" : "when asked for");
    print_rules(out, characteristic);
}

/* the /set topics of single fields, where there are several */
static void print_field_topics(struct strbuf *out, const char *topic,
                               const struct characteristic_settings *characteristic)
{
    const struct schema *schema = characteristic->writable ? characteristic->schema : NULL;

    for (size_t i = 0; schema && schema->n_fields > 1 && i < schema->n_fields; i++) {
        const struct field_spec *field = &schema->fields[i];

        if (!field->has_const && !field_spec_is_computed(field) &&
            !schema_is_alternative(schema, i))
            strbuf_printf(out, "                %s/%s/set/%s\n", topic, characteristic->id,
                          field->name);
    }
}

/* "start dd, length uint8 at 3, + 7, checksum sum8 from 2, end 77; at most 512 bytes, ..." */
static void print_frame(struct strbuf *out, const struct frame_settings *frame)
{
    strbuf_puts(out, "    frames      ");
    if (frame->start.length) {
        strbuf_puts(out, "start ");
        strbuf_hex(out, frame->start.data, frame->start.length);
        strbuf_puts(out, ", ");
    }
    if (frame->length_size) {
        strbuf_printf(out, "length %s%s at %u",
                      field_type_name(FIELD_TYPE_UINT, frame->length_size),
                      frame->length_size > 1 && frame->length_big_endian ? " big-endian" : "",
                      frame->length_offset);
        if (frame->length_add)
            strbuf_printf(out, " %c %u", frame->length_add < 0 ? '-' : '+',
                          frame->length_add < 0 ? -(unsigned)frame->length_add
                                                : (unsigned)frame->length_add);
        strbuf_puts(out, ", ");
    }
    if (frame->has_checksum)
        strbuf_printf(
            out, "checksum %s%s from %u, ", checksum_name(frame->checksum),
            checksum_size(frame->checksum) > 1 && frame->checksum_big_endian ? " big-endian" : "",
            frame->checksum_from);
    if (frame->end.length) {
        strbuf_puts(out, frame->strip_end ? "delimiter " : "end ");
        strbuf_hex(out, frame->end.data, frame->end.length);
        strbuf_puts(out, ", ");
    }
    strbuf_printf(out, "\n                at most %" PRIu64 " bytes, timeout ", frame->max);
    put_duration(out, frame->timeout_ms);
    strbuf_putc(out, '\n');
}

static void print_payload(struct strbuf *out, const struct characteristic_settings *characteristic)
{
    strbuf_printf(out, "; %s, QoS %u\n", characteristic->retain ? "retained" : "not retained",
                  characteristic->qos);
    strbuf_printf(out, "    payload     %s\n", payload_text(characteristic));
    if (characteristic->schema)
        print_fields(out, characteristic->schema, 16);
}

static void print_message(struct strbuf *out, const char *topic,
                          const struct characteristic_settings *message, const char *from)
{
    strbuf_printf(out, "\n  %s/%s", topic, message->id);
    if (message->name)
        strbuf_printf(out, "   %s", message->name);
    strbuf_printf(out, "\n    from        messages of %s ", from);
    if (message->message.length) {
        strbuf_puts(out, "with ");
        strbuf_hex(out, message->message.data, message->message.length);
        strbuf_printf(out, " at %u", message->message.offset);
    } else {
        strbuf_puts(out, "that are no other");
    }
    strbuf_puts(out, "\n    published   when they come");
    print_rules(out, message);
    print_payload(out, message);
}

static void print_characteristic(struct strbuf *out, const char *topic,
                                 const struct characteristic_settings *characteristic)
{
    const char *before = "    commands    ";

    strbuf_printf(out, "\n  %s/%s", topic, characteristic->id);
    if (characteristic->name)
        strbuf_printf(out, "   %s", characteristic->name);
    strbuf_putc(out, '\n');
    print_source(out, characteristic);
    print_occasions(out, characteristic);
    if (characteristic->n_messages)
        strbuf_puts(out, ", by its messages\n");
    else
        print_payload(out, characteristic);
    if (characteristic->framed)
        print_frame(out, &characteristic->frame);
    if (characteristic->readable) {
        strbuf_printf(out, "%s%s/%s/get\n", before, topic, characteristic->id);
        before = "                ";
    }
    if (characteristic->writable)
        strbuf_printf(out, "%s%s/%s/set%s\n", before, topic, characteristic->id,
                      characteristic->set == SET_MERGE
                          ? "  some fields will do: the rest stays as it is"
                          : "");
    print_field_topics(out, topic, characteristic);
    if (characteristic->readable || characteristic->writable)
        strbuf_printf(out, "    answers     %s/%s/result\n", topic, characteristic->id);
}

/* ---- devices ---- */

static void print_duration(struct strbuf *out, const char *before, uint64_t ms)
{
    strbuf_puts(out, before);
    put_duration(out, ms);
}

static void print_connection(struct strbuf *out, const struct device_settings *device)
{
    const struct connection_settings *connection = &device->connection;

    strbuf_puts(out, "  connected     ");
    switch (connection->mode) {
    case CONNECTION_MODE_PERSISTENT: strbuf_puts(out, "always\n"); return;
    case CONNECTION_MODE_NONE: strbuf_puts(out, "never\n"); return;
    case CONNECTION_MODE_ON_DEMAND: strbuf_puts(out, "for commands and reads"); break;
    case CONNECTION_MODE_EVERY: print_duration(out, "every ", connection->every_ms); break;
    case CONNECTION_MODE_WHEN_SEEN:
        print_duration(out, "when it is heard, at most every ", connection->cooldown_ms);
        break;
    }
    for (size_t i = 0; i < connection->n_until; i++)
        strbuf_printf(out, "%s%s", i ? ", " : "; until a value of ",
                      device->characteristics[connection->until[i]].id);
    print_duration(out, "; lingers ", connection->linger_ms);
    print_duration(out, "; at most ", connection->timeout_ms);
    strbuf_putc(out, '\n');
}

static void print_match(struct strbuf *out, const struct match_settings *match)
{
    char address[BT_ADDRESS_TEXT_SIZE], uuid[BT_UUID_TEXT_SIZE];
    const char *comma = "";

    strbuf_puts(out, "  found by      ");
    if (match->has_address) {
        bt_address_format(&match->address, address);
        strbuf_printf(out, "address %s", address);
        comma = ", ";
    }
    if (match->has_address_type) {
        strbuf_printf(out, "%s%s", match->has_address ? " (" : "address type ",
                      match->address_type == BT_ADDRESS_PUBLIC ? "public" : "random");
        strbuf_puts(out, match->has_address ? ")" : "");
        comma = ", ";
    }
    if (match->name) {
        strbuf_printf(out, "%sname %s", comma, match->name);
        comma = ", ";
    }
    for (size_t i = 0; i < match->n_services; i++) {
        bt_uuid_format_short(&match->services[i], uuid);
        strbuf_printf(out, "%sservice %s", comma, uuid);
        comma = ", ";
    }
    if (match->has_manufacturer) {
        strbuf_printf(out, "%smanufacturer 0x%04X", comma, match->manufacturer);
        if (match->manufacturer_prefix_length) {
            strbuf_puts(out, " with data ");
            strbuf_hex(out, match->manufacturer_prefix, match->manufacturer_prefix_length);
        }
        comma = ", ";
    }
    if (match->has_min_rssi)
        strbuf_printf(out, "%sRSSI of at least %d dBm", comma, match->min_rssi);
    strbuf_putc(out, '\n');
}

static void print_adapter(struct strbuf *out, const struct adapter_selector *adapter)
{
    char address[BT_ADDRESS_TEXT_SIZE];

    bt_address_format(&adapter->address, address);
    strbuf_puts(out, adapter->name ? adapter->name : address);
}

static void print_device(struct strbuf *out, const struct settings *settings,
                         const struct device_settings *device)
{
    const char *base = settings->gateway.base_topic;
    struct strbuf topic = STRBUF_INIT;

    strbuf_printf(out, "\n%s%s", device->id, device->enabled ? "" : " (not enabled)");
    if (device->gateway)
        strbuf_printf(out, " (only by gateway %s)", device->gateway);
    if (device->name)
        strbuf_printf(out, "   %s", device->name);
    if (device->area)
        strbuf_printf(out, ", %s", device->area);
    if (device->manufacturer || device->model)
        strbuf_printf(out, "   %s%s%s", device->manufacturer ? device->manufacturer : "",
                      device->manufacturer && device->model ? " " : "",
                      device->model ? device->model : "");
    strbuf_putc(out, '\n');
    print_match(out, &device->match);
    if (device->adapter) {
        strbuf_puts(out, "  adapter       ");
        print_adapter(out, device->adapter);
        strbuf_puts(out, " only\n");
    }
    print_connection(out, device);
    strbuf_printf(&topic, "%s/%s", base, device->id);
    strbuf_printf(out, "  status        %s/status/availability  online | offline\n",
                  strbuf_str(&topic));
    strbuf_printf(out, "                %s/status/link          JSON: state, reason, why, ...\n",
                  strbuf_str(&topic));
    check_print_entities(out, settings, device);
    const char *from = "";
    for (size_t i = 0; i < device->n_characteristics; i++) {
        const struct characteristic_settings *characteristic = &device->characteristics[i];

        if (characteristic->origin == ORIGIN_MESSAGE) {
            print_message(out, strbuf_str(&topic), characteristic, from);
            continue;
        }
        from = characteristic->id;
        print_characteristic(out, strbuf_str(&topic), characteristic);
    }
    check_print_commands(out, strbuf_str(&topic), device);
    strbuf_done(&topic);
}

static void print_bluetooth(struct strbuf *out, const struct bluetooth_settings *settings)
{
    strbuf_puts(out, settings->n_adapters > 1 ? "adapters      " : "adapter       ");
    if (!settings->n_adapters)
        strbuf_puts(out, "one that works");
    for (size_t i = 0; i < settings->n_adapters; i++) {
        strbuf_puts(out, i ? ", " : "");
        print_adapter(out, &settings->adapters[i]);
    }
    strbuf_printf(out, "; at most %" PRIu64 " connections%s%s\n", settings->connections,
                  settings->n_adapters > 1 ? " each" : "",
                  settings->reset == RESET_POLICY_NEVER ? ""
                  : settings->reset == RESET_POLICY_ALWAYS
                      ? "; switched off and on when it hangs"
                      : "; switched off and on when it hangs and "
                        "nobody else has connections there");
}

static void print_settings(struct strbuf *out, const char *file, const struct settings *settings)
{
    strbuf_printf(out, "valid         %s: %zu device%s\n", file, settings->n_devices,
                  settings->n_devices == 1 ? "" : "s");
    strbuf_printf(out, "broker        %s, MQTT %s%s%s\n", settings->mqtt.url,
                  settings->mqtt.protocol == 4 ? "3.1.1" : "5",
                  settings->mqtt.username ? ", with a user name" : "",
                  settings->mqtt.password ? " and a password" : "");
    strbuf_printf(out, "gateway       %s\n", settings->gateway.id);
    strbuf_printf(out, "  status        %s/bridge/%s/status  online | offline\n",
                  settings->gateway.base_topic, settings->gateway.id);
    check_print_requests(out, settings);
    print_bluetooth(out, &settings->bluetooth);
    for (size_t i = 0; i < settings->n_devices; i++)
        print_device(out, settings, &settings->devices[i]);
}

/* names from the file must not drive the terminal */
static void make_printable(struct strbuf *out)
{
    for (size_t i = 0; i < out->length; i++)
        if (((unsigned char)out->data[i] < 0x20 && out->data[i] != '\n') || out->data[i] == 0x7f)
            out->data[i] = '?';
}

static int print_result(const char *file, const struct settings *settings)
{
    struct strbuf out = STRBUF_INIT;

    print_settings(&out, file, settings);
    make_printable(&out);
    bool ok = strbuf_ok(&out);
    if (ok)
        fputs(strbuf_str(&out), stdout);
    strbuf_done(&out);
    return ok && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

static int check(const char *path)
{
    const struct config_options options = {.without_credentials = true};
    struct diags diags;
    struct settings *settings = NULL;
    int status;

    if (diags_init(&diags, strcmp(path, "-") == 0 ? "standard input" : path) < 0)
        return CLI_FAILED;
    int r = config_load(path, &options, &diags, &settings);
    diags_print(&diags, stderr);
    if (r == 0)
        status = print_result(diags.file, settings);
    else
        status = r == CONFIG_E_INVALID ? CLI_CONFIG : CLI_FAILED;
    settings_free(settings);
    diags_done(&diags);
    return status;
}

int cmd_check(const struct cli_options *options, int argc, char **argv)
{
    static const struct option long_options[] = {
        {"help", no_argument, NULL, 'h'},
        {"keys", no_argument, NULL, 'k'},
        {0},
    };
    static const char usage[] = "Usage: gatt2mqtt check [-c FILE] [--keys]\n"
                                "Says what is wrong with the configuration, or what would be "
                                "published where.\n"
                                "With --keys: which keys there are; no file is read.\n";
    bool keys = false;
    int c;

    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1)
        switch (c) {
        case 'h': fputs(usage, stdout); return CLI_OK;
        case 'k': keys = true; break;
        default: fputs(usage, stderr); return CLI_USAGE;
        }
    if (optind != argc) {
        fputs(usage, stderr);
        return CLI_USAGE;
    }
    if (keys) {
        config_print_keys(stdout);
        return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
    }
    return check(options->config);
}
