/*
 * The request `scan`: who is heard while it lasts. The adapters scan for it as they do for a device
 * that is missing (scan.c), so no link is disturbed; several requests share what is heard. The
 * radio is open to everybody, so all of it is bounded: in number, where the weaker go first, and in
 * bytes. Must not know how an adapter scans.
 */
#include "core/world.h"

#include "core/json.h"
#include "util/cleanup.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SURVEYS_MAX       8 /* requests at once */
#define SURVEY_DEFAULT_MS 10000
#define ADVERTISER_MAX    2048 /* bytes of what one says, as JSON */

struct advertiser {
    struct bt_address address;
    enum bt_address_type type;
    char adapter[16]; /* that heard it best */
    int16_t rssi;
    uint64_t heard_us;
    bool bonded;
    struct strbuf said; /* members of a JSON object, a comma before each */
};

struct survey {
    struct {
        struct command *command; /* owned */
        uint64_t began_us, due_us;
    } asked[SURVEYS_MAX]; /* the oldest first */
    size_t n_asked;
    struct advertiser list[SURVEY_ADVERTISERS_MAX];
    size_t n;
    uint64_t left_out_us; /* when somebody found no room last; 0: never */
};

/* ---- what is heard ---- */

static void say_name(struct json_writer *w, const struct device_info *info)
{
    if (!info->name)
        return;
    json_write_key(w, "name");
    json_write_string(w, info->name);
}

static void write_uuid(struct json_writer *w, const struct bt_uuid *uuid, bool is_key)
{
    char text[BT_UUID_TEXT_SIZE];

    bt_uuid_format_short(uuid, text);
    if (is_key)
        json_write_key(w, text);
    else
        json_write_string(w, text);
}

static void say_services(struct json_writer *w, const struct device_info *info)
{
    if (!info->n_uuids)
        return;
    json_write_key(w, "services");
    json_write_array_begin(w);
    for (size_t i = 0; i < info->n_uuids; i++)
        write_uuid(w, &info->uuids[i], false);
    json_write_array_end(w);
}

static void say_manufacturer(struct json_writer *w, const struct device_info *info)
{
    char key[8];

    if (!info->n_manufacturer)
        return;
    json_write_key(w, "manufacturer");
    json_write_object_begin(w);
    for (size_t i = 0; i < info->n_manufacturer; i++) {
        snprintf(key, sizeof(key), "0x%04X", info->manufacturer[i].company);
        json_write_key(w, key);
        json_write_hex(w, info->manufacturer[i].data, info->manufacturer[i].length);
    }
    json_write_object_end(w);
}

static void say_service_data(struct json_writer *w, const struct device_info *info)
{
    if (!info->n_service_data)
        return;
    json_write_key(w, "service_data");
    json_write_object_begin(w);
    for (size_t i = 0; i < info->n_service_data; i++) {
        write_uuid(w, &info->service_data[i].uuid, true);
        json_write_hex(w, info->service_data[i].data, info->service_data[i].length);
    }
    json_write_object_end(w);
}

/* A part that finds no room is left out as a whole, and that is said. */
static void keep_what_it_says(struct advertiser *advertiser, const struct device_info *info)
{
    static void (*const parts[])(struct json_writer *, const struct device_info *) = {
        say_name, say_services, say_manufacturer, say_service_data};
    struct strbuf *said = &advertiser->said;
    bool cut = false;

    strbuf_reset(said);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        struct json_writer w = {.out = said, .comma = true};
        size_t before = said->length;

        parts[i](&w, info);
        if (said->length > ADVERTISER_MAX) {
            strbuf_truncate(said, before);
            cut = true;
        }
    }
    if (cut)
        strbuf_puts(said, ",\"cut\":true");
}

static struct advertiser *find(struct survey *survey, const struct bt_address *address,
                               enum bt_address_type type)
{
    for (size_t i = 0; i < survey->n; i++)
        if (survey->list[i].type == type && bt_address_equal(&survey->list[i].address, address))
            return &survey->list[i];
    return NULL;
}

/* A new place, that of one whom nobody asks for any more, or that of the weakest if it is weaker;
 * NULL: there is none. */
static struct advertiser *place(struct survey *survey, int16_t rssi, uint64_t now_us)
{
    struct advertiser *weakest = &survey->list[0];

    if (survey->n < ARRAY_SIZE(survey->list))
        return &survey->list[survey->n++];
    for (size_t i = 0; i < survey->n; i++) {
        struct advertiser *each = &survey->list[i];

        if (each->heard_us < survey->asked[0].began_us)
            return each;
        if (each->rssi < weakest->rssi)
            weakest = each;
    }
    survey->left_out_us = now_us;
    return weakest->rssi < rssi ? weakest : NULL;
}

void survey_heard(struct gateway *gateway, const struct adapter *adapter,
                  const struct device_info *info)
{
    struct survey *survey = gateway->survey;

    if (!survey || !adapter->used)
        return;
    struct advertiser *advertiser = find(survey, &info->address, info->address_type);
    bool is_known = advertiser != NULL;
    if (!is_known)
        advertiser = place(survey, info->rssi, gateway->now.mono_us);
    if (!advertiser)
        return;
    /* the adapter that hears it best speaks for it, unless one who asked later has not heard it */
    if (is_known && advertiser->heard_us >= survey->asked[survey->n_asked - 1].began_us &&
        strcmp(advertiser->adapter, adapter->name) != 0 && advertiser->rssi > info->rssi)
        return;
    advertiser->address = info->address;
    advertiser->type = info->address_type;
    snprintf(advertiser->adapter, sizeof(advertiser->adapter), "%s", adapter->name);
    advertiser->rssi = info->rssi;
    advertiser->heard_us = gateway->now.mono_us;
    advertiser->bonded = info->bonded;
    keep_what_it_says(advertiser, info);
}

/* ---- the answer ---- */

static int compare(const void *a, const void *b)
{
    const struct advertiser *const *x = a, *const *y = b;

    return (*y)->rssi - (*x)->rssi;
}

static void write_advertiser(struct json_writer *w, struct gateway *gateway,
                             const struct advertiser *advertiser)
{
    const struct peer *peer = gateway_peer_of_address(gateway, &advertiser->address);
    char address[BT_ADDRESS_TEXT_SIZE];

    bt_address_format(&advertiser->address, address);
    json_write_object_begin(w);
    json_write_key(w, "address");
    json_write_string(w, address);
    json_write_key(w, "address_type");
    json_write_string(w, advertiser->type == BT_ADDRESS_RANDOM ? "random" : "public");
    json_write_key(w, "rssi");
    if (advertiser->rssi == RSSI_UNKNOWN)
        json_write_null(w);
    else
        json_write_int(w, advertiser->rssi);
    json_write_key(w, "adapter");
    json_write_string(w, advertiser->adapter);
    if (peer) {
        json_write_key(w, "device");
        json_write_string(w, peer->settings->id);
    }
    if (advertiser->bonded) {
        json_write_key(w, "bonded");
        json_write_bool(w, true);
    }
    strbuf_append(w->out, advertiser->said.data, advertiser->said.length);
    json_write_object_end(w);
}

/* the strongest first, as many as find room */
static bool write_list(struct json_writer *w, struct gateway *gateway, uint64_t since_us,
                       size_t limit)
{
    struct survey *survey = gateway->survey;
    struct advertiser *list[SURVEY_ADVERTISERS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < survey->n; i++)
        if (survey->list[i].heard_us >= since_us && strbuf_ok(&survey->list[i].said))
            list[n++] = &survey->list[i];
    qsort(list, n, sizeof(list[0]), compare);
    for (size_t i = 0; i < n; i++) {
        struct json_writer before = *w;
        size_t length = w->out->length;

        write_advertiser(w, gateway, list[i]);
        if (w->out->length > limit) {
            strbuf_truncate(w->out, length);
            *w = before;
            return false;
        }
    }
    return survey->left_out_us < since_us;
}

static bool heard_any(const struct survey *survey, uint64_t since_us)
{
    for (size_t i = 0; i < survey->n; i++)
        if (survey->list[i].heard_us >= since_us)
            return true;
    return false;
}

static void answer(struct gateway *gateway, struct command *command, uint64_t since_us)
{
    _cleanup_(strbuf_done) struct strbuf data = STRBUF_INIT;
    struct json_writer w = json_writer_to(&data);
    char why[160];

    if (!heard_any(gateway->survey, since_us) &&
        adapter_trouble_of_all(gateway, why, sizeof(why)) != REASON_OK) {
        command_answer_error(gateway, command, "adapter_off", 0, "%s", why);
        return;
    }
    json_write_object_begin(&w);
    json_write_key(&w, "heard");
    json_write_array_begin(&w);
    bool complete = write_list(&w, gateway, since_us, command_answer_limit(gateway));
    json_write_array_end(&w);
    json_write_key(&w, "complete");
    json_write_bool(&w, complete);
    json_write_object_end(&w);
    command_answer_ok(gateway, command, &data);
}

/* ---- requests ---- */

static void survey_free(struct gateway *gateway)
{
    struct survey *survey = gateway->survey;

    for (size_t i = 0; survey && i < ARRAY_SIZE(survey->list); i++)
        strbuf_done(&survey->list[i].said);
    free(survey);
    gateway->survey = NULL;
}

/* Its command is the caller's now. */
static struct command *take(struct survey *survey, size_t index)
{
    struct command *command = survey->asked[index].command;

    memmove(&survey->asked[index], &survey->asked[index + 1],
            (--survey->n_asked - index) * sizeof(survey->asked[0]));
    return command;
}

bool survey_listens(const struct gateway *gateway)
{
    return gateway->survey != NULL;
}

static bool can_scan(const struct gateway *gateway)
{
    for (size_t i = 0; gateway->bluez_up && i < MAX_ADAPTERS; i++)
        if (adapter_works(&gateway->adapters[i]))
            return true;
    return false;
}

/* Then those that are there already are not heard at each advertisement, see bluez/monitor.c. */
static bool is_passive(const struct gateway *gateway)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (gateway->adapters[i].scan_passive)
            return true;
    return false;
}

void survey_request(struct gateway *gateway, uint64_t duration_ms, struct command *command)
{
    char why[160];

    if (!can_scan(gateway)) {
        (void)adapter_trouble_of_all(gateway, why, sizeof(why));
        command_answer_error(gateway, command, "adapter_off", 0, "%s", why);
        return;
    }
    if (!gateway->survey)
        gateway->survey = calloc(1, sizeof(*gateway->survey));
    struct survey *survey = gateway->survey;
    if (!survey) {
        command_answer_error(gateway, command, "internal", 0, "out of memory");
        return;
    }
    if (survey->n_asked == SURVEYS_MAX) {
        command_answer_error(gateway, command, "queue_full", 0, "%d scans are going on already",
                             SURVEYS_MAX);
        return;
    }
    uint64_t due_us = gateway_in(gateway, duration_ms ? duration_ms : SURVEY_DEFAULT_MS);
    if (is_passive(gateway))
        actions_add(gateway->actions, ACTION_TELL_DEVICES);
    survey->asked[survey->n_asked].command = command;
    survey->asked[survey->n_asked].began_us = gateway->now.mono_us;
    survey->asked[survey->n_asked++].due_us = due_us;
    gateway_arm(gateway, due_us);
    gateway->schedule = true;
}

void survey_timer(struct gateway *gateway)
{
    struct survey *survey = gateway->survey;

    for (size_t i = 0; survey && i < survey->n_asked;) {
        uint64_t began_us = survey->asked[i].began_us;

        if (survey->asked[i].due_us <= gateway->now.mono_us)
            answer(gateway, take(survey, i), began_us);
        else
            gateway_arm(gateway, survey->asked[i++].due_us);
    }
    if (survey && !survey->n_asked)
        survey_free(gateway);
}

void survey_stop(struct gateway *gateway)
{
    while (gateway->survey && gateway->survey->n_asked)
        command_answer_error(gateway, take(gateway->survey, 0), "cancelled", 0,
                             "the gateway is stopping");
    survey_free(gateway);
}

void survey_done(struct gateway *gateway)
{
    while (gateway->survey && gateway->survey->n_asked)
        command_free(take(gateway->survey, 0));
    survey_free(gateway);
}
