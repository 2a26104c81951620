/* Pairing: with the BlueZ that the simulator plays, and with one that asks the agent what no honest
 * one would. */
#include "bus/helper_fake.h"

#include "sim/service.h"
#include "yaml/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGENT           "/org/gatt2mqtt/agent"
#define AGENT_INTERFACE "org.bluez.Agent1"
#define OTHER           HCI0 "/dev_00_00_00_00_00_00"

/* ---- a scripted BlueZ ---- */

static struct fake *begin(const uint32_t *passkey)
{
    struct fake *fake = fake_new();

    fake_resolve(fake);
    struct action action = fake_action(fake, ACTION_PAIR);
    action.pair.has_passkey = passkey != NULL;
    action.pair.passkey = passkey ? *passkey : 0;
    fake_execute(fake, action);
    return fake;
}

static void expect_registered(struct fake *fake, const char *wanted)
{
    sd_bus_message *m = fake_call(fake, "RegisterAgent");
    const char *path, *capability;

    assert_true(sd_bus_message_read(m, "os", &path, &capability) >= 0);
    assert_string_equal(path, AGENT);
    assert_string_equal(capability, wanted);
    assert_true(sd_bus_reply_method_return(m, NULL) >= 0);
    sd_bus_message_unref(m);
    fake_settle(fake);
}

struct said {
    bool came;
    char error[64]; /* "": none */
    uint32_t number;
};

static int hear(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct said *said = userdata;
    const sd_bus_error *error = sd_bus_message_get_error(m);

    said->came = true;
    snprintf(said->error, sizeof(said->error), "%s", error ? error->name : "");
    if (!error)
        (void)sd_bus_message_read(m, "u", &said->number);
    return 0;
}

/* what the agent says to that */
static struct said ask(struct fake *fake, const char *method, const char *types, ...)
{
    struct said said = {0};
    sd_bus_message *m = NULL;
    sd_bus_slot *slot = NULL;
    va_list ap;

    assert_true(sd_bus_message_new_method_call(fake->server, &m, NULL, AGENT, AGENT_INTERFACE,
                                               method) >= 0);
    va_start(ap, types);
    assert_true(sd_bus_message_appendv(m, types, ap) >= 0);
    va_end(ap);
    assert_true(sd_bus_message_set_sender(m, fake->owner) >= 0);
    assert_true(sd_bus_call_async(fake->server, &slot, m, hear, &said, 0) >= 0);
    sd_bus_message_unref(m);
    fake_settle(fake);
    sd_bus_slot_unref(slot);
    assert_true(said.came);
    return said;
}

static void expect_refused(struct said said)
{
    assert_string_equal(said.error, "org.bluez.Error.Rejected");
}

static void expect_result(struct fake *fake, enum bt_status status)
{
    assert_string_equal(bt_status_name(fake_expect(fake, EVENT_PAIR_RESULT)->event.result.status),
                        bt_status_name(status));
}

static void without_a_passkey_only_just_works_is_agreed_to(void **state)
{
    struct fake *fake = begin(NULL);

    expect_registered(fake, "NoInputNoOutput");
    assert_string_equal(ask(fake, "RequestAuthorization", "o", DEV).error, "");
    expect_refused(ask(fake, "RequestAuthorization", "o", OTHER));
    expect_refused(ask(fake, "RequestPasskey", "o", DEV));
    expect_refused(ask(fake, "RequestConfirmation", "ou", DEV, 123456));
    expect_refused(ask(fake, "RequestPinCode", "o", DEV));
    expect_refused(ask(fake, "DisplayPinCode", "os", DEV, "1234"));
    expect_refused(ask(fake, "DisplayPasskey", "ouq", DEV, 123456, 0));
    expect_refused(ask(fake, "AuthorizeService", "os", DEV, "180d"));
    assert_string_equal(ask(fake, "Cancel", "").error, "");
    fake_answer(fake, "Pair");
    expect_result(fake, BT_STATUS_OK);
    fake_free(fake);
}

static void the_passkey_is_for_its_own_device_only(void **state)
{
    const uint32_t passkey = 42;
    struct fake *fake = begin(&passkey);

    expect_registered(fake, "KeyboardOnly");
    struct said said = ask(fake, "RequestPasskey", "o", DEV);
    assert_string_equal(said.error, "");
    assert_int_equal(said.number, 42);
    expect_refused(ask(fake, "RequestPasskey", "o", OTHER));
    expect_refused(ask(fake, "RequestPasskey", "o", DEV "x"));
    /* who wants a passkey does not want less */
    expect_refused(ask(fake, "RequestAuthorization", "o", DEV));
    assert_string_equal(ask(fake, "RequestConfirmation", "ou", DEV, 42).error, "");
    expect_refused(ask(fake, "RequestConfirmation", "ou", DEV, 43));
    expect_refused(ask(fake, "RequestConfirmation", "ou", OTHER, 42));
    fake_refuse(fake, "Pair", "org.bluez.Error.AuthenticationFailed", "Authentication Failed");
    const struct seen *seen = fake_expect(fake, EVENT_PAIR_RESULT);
    assert_string_equal(bt_status_name(seen->event.result.status), "auth_failed");
    assert_string_equal(seen->text, "Authentication Failed");
    fake_free(fake);
}

static void nobody_but_bluez_may_ask(void **state)
{
    const uint32_t passkey = 42;
    struct fake *fake = begin(&passkey);
    const char *owner = fake->owner;

    expect_registered(fake, "KeyboardOnly");
    fake->owner = ":1.66";
    struct said said = ask(fake, "RequestPasskey", "o", DEV);
    assert_string_not_equal(said.error, "");
    assert_int_equal(said.number, 0);
    fake->owner = owner;
    fake_free(fake);
}

static void the_agent_goes_with_the_pairing(void **state)
{
    const uint32_t passkey = 42;
    struct fake *fake = begin(&passkey);

    expect_registered(fake, "KeyboardOnly");
    fake_answer(fake, "Pair");
    expect_result(fake, BT_STATUS_OK);
    sd_bus_message_unref(fake_call(fake, "UnregisterAgent"));
    assert_string_not_equal(ask(fake, "RequestPasskey", "o", DEV).error, "");
    /* and the next one has what it needs */
    fake_execute(fake, fake_action(fake, ACTION_PAIR));
    expect_registered(fake, "NoInputNoOutput");
    expect_refused(ask(fake, "RequestPasskey", "o", DEV));
    fake_answer(fake, "Pair");
    expect_result(fake, BT_STATUS_OK);
    fake_free(fake);
}

static void who_is_paired_already_is_paired(void **state)
{
    struct fake *fake = begin(NULL);

    expect_registered(fake, "NoInputNoOutput");
    fake_refuse(fake, "Pair", "org.bluez.Error.AlreadyExists", "Already Exists");
    expect_result(fake, BT_STATUS_OK);
    fake_free(fake);
}

/* BlueZ may not have answered the one before, whose link was lost, say */
static void a_second_pairing_takes_the_place_of_the_first(void **state)
{
    const uint32_t passkey = 42;
    struct fake *fake = begin(&passkey);

    expect_registered(fake, "KeyboardOnly");
    sd_bus_message_unref(fake_call(fake, "Pair"));
    fake_execute(fake, fake_action(fake, ACTION_PAIR));
    expect_result(fake, BT_STATUS_CANCELLED);
    sd_bus_message *m = fake_call(fake, "CancelPairing");
    assert_string_equal(sd_bus_message_get_path(m), DEV);
    sd_bus_message_unref(m);
    sd_bus_message_unref(fake_call(fake, "UnregisterAgent"));
    expect_registered(fake, "NoInputNoOutput");
    expect_refused(ask(fake, "RequestPasskey", "o", DEV));
    fake_answer(fake, "Pair");
    expect_result(fake, BT_STATUS_OK);
    fake_free(fake);
}

static void without_an_agent_nothing_is_paired(void **state)
{
    struct fake *fake = begin(NULL);

    fake_refuse(fake, "RegisterAgent", "org.freedesktop.DBus.Error.AccessDenied", "no");
    expect_result(fake, BT_STATUS_ACCESS_DENIED);
    fake_free(fake);
}

static void a_device_that_goes_ends_it(void **state)
{
    struct fake *fake = begin(NULL);

    expect_registered(fake, "NoInputNoOutput");
    fake_removed(fake, DEV, DEVICE);
    fake_settle(fake);
    unsigned answers = 0;
    while (fake->first) {
        enum event_type type = fake->first->event.type;
        answers += type == EVENT_PAIR_RESULT;
        fake_expect(fake, type);
    }
    assert_int_equal(answers, 1);
    sd_bus_message_unref(fake_call(fake, "UnregisterAgent"));
    fake_free(fake);
}

static void a_bluetoothd_that_dies_takes_the_agent_along(void **state)
{
    const uint32_t passkey = 42;
    struct fake *fake = begin(&passkey);

    expect_registered(fake, "KeyboardOnly");
    fake_set_owner(fake, NULL);
    fake_settle(fake);
    assert_string_not_equal(ask(fake, "RequestPasskey", "o", DEV).error, "");
    fake_free(fake);
}

/* ---- the played one ---- */

static const char world_text[] =
    "timing: { connect: 2ms, resolve: 2ms, disconnect: 2ms }\n"
    "peripherals:\n"
    "  easy: { address: 'C8:00:00:00:00:01', address_type: random, interval: 20ms,\n"
    "    services: [ { uuid: 0x180D, characteristics: [\n"
    "      { id: secret, uuid: 0x2A38, properties: [read], value: '2a', encrypted: true } ] } ] }\n"
    "  strict: { address: 'C8:00:00:00:00:02', address_type: random, interval: 20ms,\n"
    "    pairing: { passkey: 123456 } }\n"
    "  never: { address: 'C8:00:00:00:00:03', address_type: random, interval: 20ms,\n"
    "    pairing: refuse }\n";

struct air {
    struct fake *fake;
    struct sim_world *world;
    struct sim_bluez *sim;
    uint32_t devices[3];
    bool bonded[3];
};

/* devices by the last digits of their addresses; the next event that is none of that */
static const struct event *next(struct air *air, enum event_type type)
{
    for (;;) {
        while (!air->fake->first)
            assert_true(sd_event_run(air->fake->loop, 5000000) > 0);
        enum event_type came = air->fake->first->event.type;
        const struct event *event = &fake_expect(air->fake, came)->event;
        if (came == EVENT_DEVICE) {
            size_t i = event->device_info.address.b[5] - 1u;
            assert_true(i < 3);
            air->devices[i] = event->device;
            air->bonded[i] = event->device_info.bonded;
        }
        if (came == type)
            return event;
    }
}

static void execute(struct air *air, size_t device, enum action_type type, const uint32_t *passkey)
{
    struct action action = fake_action(air->fake, type);

    action.device = air->devices[device];
    if (type == ACTION_PAIR) {
        action.pair.has_passkey = passkey != NULL;
        action.pair.passkey = passkey ? *passkey : 0;
    }
    fake_execute(air->fake, action);
}

static int setup(void **state)
{
    struct air *air = calloc(1, sizeof(*air));
    struct diags diags;

    assert_int_equal(diags_init(&diags, "world"), 0);
    int r = sim_world_parse(world_text, strlen(world_text), &diags, &air->world);
    diags_print(&diags, stderr);
    diags_done(&diags);
    assert_int_equal(r, 0);
    air->fake = fake_new_mute();
    assert_int_equal(sim_bluez_new(&(struct sim_bluez_options){.bus = air->fake->server,
                                                               .event = air->fake->loop,
                                                               .world = air->world,
                                                               .peer = true},
                                   &air->sim),
                     0);
    assert_int_equal(bluez_start(air->fake->bluez), 0);
    next(air, EVENT_BLUEZ_UP);
    fake_execute(air->fake, fake_action(air->fake, ACTION_SCAN_START));
    while (!air->devices[0] || !air->devices[1] || !air->devices[2])
        next(air, EVENT_DEVICE);
    for (size_t i = 0; i < 3; i++) {
        execute(air, i, ACTION_CONNECT, NULL);
        next(air, EVENT_CONNECT_RESULT);
    }
    *state = air;
    return 0;
}

static int teardown(void **state)
{
    struct air *air = *state;

    sim_bluez_free(air->sim);
    fake_free(air->fake);
    sim_world_free(air->world);
    free(air);
    return 0;
}

static const char *pair(struct air *air, size_t device, const uint32_t *passkey)
{
    execute(air, device, ACTION_PAIR, passkey);
    return bt_status_name(next(air, EVENT_PAIR_RESULT)->result.status);
}

static const char *read_secret(struct air *air)
{
    execute(air, 0, ACTION_RESOLVE, NULL);
    const struct event *resolved = next(air, EVENT_RESOLVE_RESULT);
    assert_int_equal(resolved->resolved.n_characteristics, 1);
    struct action read = fake_action(air->fake, ACTION_READ);
    read.device = air->devices[0];
    read.read.handle = resolved->resolved.characteristics[0].handle;
    fake_execute(air->fake, read);
    return bt_status_name(next(air, EVENT_READ_RESULT)->result.status);
}

static void just_works_gives_a_bond_and_what_it_protects(void **state)
{
    struct air *air = *state;

    assert_string_equal(read_secret(air), "not_paired");
    assert_string_equal(pair(air, 0, NULL), "ok");
    assert_true(air->bonded[0]);
    assert_string_equal(read_secret(air), "ok");
    assert_string_equal(pair(air, 0, NULL), "ok"); /* BlueZ says AlreadyExists */
}

static void a_bond_outlives_the_link_until_the_peer_forgets_it(void **state)
{
    struct air *air = *state;

    assert_string_equal(pair(air, 0, NULL), "ok");
    execute(air, 0, ACTION_DISCONNECT, NULL);
    next(air, EVENT_DISCONNECT_RESULT);
    execute(air, 0, ACTION_CONNECT, NULL);
    assert_string_equal(bt_status_name(next(air, EVENT_CONNECT_RESULT)->result.status), "ok");
    assert_string_equal(read_secret(air), "ok");
    air->world->peripherals[0].bonded = false;
    execute(air, 0, ACTION_DISCONNECT, NULL);
    next(air, EVENT_DISCONNECT_RESULT);
    execute(air, 0, ACTION_CONNECT, NULL);
    assert_string_equal(bt_status_name(next(air, EVENT_CONNECT_RESULT)->result.status),
                        "auth_failed");
}

static void a_passkey_is_right_or_wrong(void **state)
{
    const uint32_t wrong = 123457, right = 123456;
    struct air *air = *state;

    assert_string_equal(pair(air, 1, NULL), "auth_failed");
    assert_string_equal(pair(air, 1, &wrong), "auth_failed");
    assert_false(air->bonded[1]);
    assert_string_equal(pair(air, 1, &right), "ok");
    assert_true(air->bonded[1]);
}

static void a_passkey_is_not_given_away_for_less(void **state)
{
    const uint32_t passkey = 123456;
    struct air *air = *state;

    assert_string_equal(pair(air, 0, &passkey), "auth_failed"); /* it shows none */
    assert_false(air->bonded[0]);
}

static void some_peers_refuse(void **state)
{
    assert_string_equal(pair(*state, 2, NULL), "auth_failed");
}

static void a_disconnect_cancels_it(void **state)
{
    struct air *air = *state;

    execute(air, 0, ACTION_PAIR, NULL);
    fake_settle(air->fake);
    execute(air, 0, ACTION_DISCONNECT, NULL);
    const struct seen *seen;
    next(air, EVENT_PAIR_RESULT);
    seen = air->fake->current;
    assert_string_equal(bt_status_name(seen->event.result.status), "auth_failed");
    assert_string_equal(seen->text, "Authentication Canceled");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_passkey_only_just_works_is_agreed_to),
        cmocka_unit_test(the_passkey_is_for_its_own_device_only),
        cmocka_unit_test(nobody_but_bluez_may_ask),
        cmocka_unit_test(the_agent_goes_with_the_pairing),
        cmocka_unit_test(who_is_paired_already_is_paired),
        cmocka_unit_test(a_second_pairing_takes_the_place_of_the_first),
        cmocka_unit_test(without_an_agent_nothing_is_paired),
        cmocka_unit_test(a_device_that_goes_ends_it),
        cmocka_unit_test(a_bluetoothd_that_dies_takes_the_agent_along),
        TEST(just_works_gives_a_bond_and_what_it_protects),
        TEST(a_bond_outlives_the_link_until_the_peer_forgets_it),
        TEST(a_passkey_is_right_or_wrong),
        TEST(a_passkey_is_not_given_away_for_less),
        TEST(some_peers_refuse),
        TEST(a_disconnect_cancels_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
