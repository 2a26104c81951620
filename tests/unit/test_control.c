/* What the control protocol promises: one answer a line, the world changed as told, a word about
 * what is wrong. */
#include "sim/control.h"

#include "yaml/diag.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char house[] =
    "peripherals:\n"
    "  lamp:\n"
    "    address: \"C8:00:00:00:00:03\"\n"
    "    address_type: random\n"
    "    services:\n"
    "      - uuid: 0x1815\n"
    "        characteristics:\n"
    "          - { id: power, uuid: 0x2A56, value: \"00\",\n"
    "              properties: [read, write, write-without-response, notify] }\n"
    "  door: { address: \"C8:00:00:00:00:04\", address_type: random }\n";

/* a player that does what it is told and notes it */
struct player {
    struct sim_world *world;
    struct strbuf answer, log;
};

static int note_drop(void *user, struct sim_peripheral *p, uint8_t reason)
{
    strbuf_printf(&((struct player *)user)->log, "drop %s 0x%02x;", p->id, reason);
    sim_peripheral_disconnected(p);
    return 0;
}

static int note_presence(void *user, struct sim_peripheral *p)
{
    strbuf_printf(&((struct player *)user)->log, "presence %s %d;", p->id, p->present);
    return 0;
}

static void note_due(void *user, struct sim_peripheral *p)
{
    strbuf_printf(&((struct player *)user)->log, "due %s;", p->id);
}

static int note_adapter(void *user, struct sim_adapter *adapter, enum control_adapter change)
{
    strbuf_printf(&((struct player *)user)->log, "adapter %s %d;", adapter->name, (int)change);
    return change == CONTROL_ADAPTER_ADD ? -EEXIST : 0;
}

static int note_parameters(void *user, struct sim_peripheral *p, uint16_t interval,
                           uint16_t latency, uint16_t timeout)
{
    strbuf_printf(&((struct player *)user)->log, "parameters %s %u %u %u;", p->id, interval,
                  latency, timeout);
    return 0;
}

static int note_fault(void *user, struct sim_adapter *adapter, enum sim_fault fault, bool on)
{
    strbuf_printf(&((struct player *)user)->log, "fault %s %d %d;", adapter ? adapter->name : "-",
                  (int)fault, on);
    return 0;
}

static int note_connect(void *user, struct sim_peripheral *p)
{
    strbuf_printf(&((struct player *)user)->log, "connect %s;", p->id);
    return 0;
}

static int note_forget(void *user, struct sim_peripheral *p)
{
    strbuf_printf(&((struct player *)user)->log, "forget %s;", p->id);
    return 0;
}

static int note_services(void *user, struct sim_peripheral *p)
{
    strbuf_printf(&((struct player *)user)->log, "services %s;", p->id);
    return 0;
}

static void note_quit(void *user)
{
    strbuf_puts(&((struct player *)user)->log, "quit;");
}

static const struct control_ops ops = {
    .drop = note_drop,
    .presence = note_presence,
    .due = note_due,
    .adapter = note_adapter,
    .fault = note_fault,
    .connect = note_connect,
    .forget = note_forget,
    .services = note_services,
    .parameters = note_parameters,
    .quit = note_quit,
};

static int setup(void **state)
{
    struct player *player = calloc(1, sizeof(*player));
    struct diags diags;

    if (!player || diags_init(&diags, "house.yaml") < 0)
        return -1;
    int r = sim_world_parse(house, strlen(house), &diags, &player->world);
    diags_print(&diags, stderr);
    diags_done(&diags);
    *state = player;
    return r;
}

static int teardown(void **state)
{
    struct player *player = *state;

    sim_world_free(player->world);
    strbuf_done(&player->answer);
    strbuf_done(&player->log);
    free(player);
    return 0;
}

static const char *ask(void **state, const char *line)
{
    struct player *player = *state;

    control_execute(player->world, &ops, player, 1000, line, &player->answer);
    return strbuf_str(&player->answer);
}

static void assert_done(void **state, const char *expected)
{
    struct player *player = *state;

    assert_string_equal(strbuf_str(&player->log), expected);
    strbuf_reset(&player->log);
}

static struct sim_peripheral *lamp(void **state)
{
    return sim_world_find(((struct player *)*state)->world, "lamp");
}

static void subscribe(void **state)
{
    sim_peripheral_connected(lamp(state), 0);
    assert_int_equal(sim_characteristic_subscribe(sim_peripheral_find(lamp(state), "power"), 1, 0),
                     0);
}

static void list_and_state_tell_how_things_are(void **state)
{
    assert_string_equal(ask(state, "list"), "ok lamp door");
    assert_string_equal(ask(state, "state lamp"), "ok advertising");
    sim_peripheral_connected(lamp(state), 0);
    assert_string_equal(ask(state, "state lamp"), "ok connected hci0");
    assert_string_equal(ask(state, "refuse lamp on"), "ok");
    assert_string_equal(ask(state, "slow lamp 250"), "ok");
    assert_string_equal(ask(state, "state lamp"), "ok connected hci0 refusing slow=250ms");
}

static void drop_loses_the_link_with_the_reason(void **state)
{
    assert_string_equal(ask(state, "drop lamp"), "error not connected");
    sim_peripheral_connected(lamp(state), 0);
    assert_string_equal(ask(state, "drop lamp 0"),
                        "error the reason is an HCI error code from 0x01 to 0xff");
    assert_string_equal(ask(state, "drop lamp 0x13"), "ok");
    assert_done(state, "drop lamp 0x13;");
    sim_peripheral_connected(lamp(state), 0);
    assert_string_equal(ask(state, "drop lamp"), "ok");
    assert_done(state, "drop lamp 0x08;");
}

static void vanished_peripheral_is_silent_before_its_link_is_lost(void **state)
{
    sim_peripheral_connected(lamp(state), 0);
    assert_string_equal(ask(state, "vanish lamp"), "ok");
    assert_done(state, "drop lamp 0x08;presence lamp 0;");
    assert_string_equal(ask(state, "state lamp"), "ok absent");
    assert_string_equal(ask(state, "appear lamp"), "ok");
    assert_done(state, "presence lamp 1;");
}

static void burst_is_answered_at_once_with_its_numbers(void **state)
{
    assert_string_equal(ask(state, "notify lamp power 10 100"), "error nobody is subscribed");
    subscribe(state);
    assert_string_equal(ask(state, "notify lamp power 10 10001"),
                        "error the rate is from 1 to 10000 a second");
    assert_string_equal(ask(state, "notify lamp power 10 100"), "ok first=1 last=10");
    assert_done(state, "due lamp;");
    assert_string_equal(ask(state, "notify lamp power 10 100"), "error a burst is running");
    assert_string_equal(ask(state, "sent lamp power"), "ok 0");
}

static void value_is_set_and_told(void **state)
{
    assert_string_equal(ask(state, "value lamp power 0a1B"), "ok");
    assert_done(state, "due lamp;");
    assert_string_equal(ask(state, "get lamp power"), "ok 0a1b");
    assert_string_equal(ask(state, "value lamp 0x2A56 -"), "ok");
    assert_string_equal(ask(state, "get lamp power"), "ok -");
    assert_string_equal(ask(state, "value lamp power 0"),
                        "error expected at most 512 bytes in hex, or -");
}

static void writes_are_told_once(void **state)
{
    struct sim_characteristic *c = sim_peripheral_find(lamp(state), "power");

    assert_int_equal(sim_characteristic_write(c, "\x01", 1, false), 0);
    assert_int_equal(sim_characteristic_write(c, "\x02\x03", 2, true), 0);
    assert_int_equal(sim_characteristic_write(c, "", 0, false), 0);
    assert_string_equal(ask(state, "writes lamp power"), "ok request:01 command:0203 request:-");
    assert_string_equal(ask(state, "writes lamp power"), "ok");
}

static void adapters_are_pulled_and_put_back(void **state)
{
    assert_string_equal(ask(state, "adapter hci0 off"), "ok");
    assert_string_equal(ask(state, "adapter hci0 remove"), "ok");
    assert_string_equal(ask(state, "adapter hci0 add"), "error it is there already");
    assert_done(state, "adapter hci0 2;adapter hci0 0;adapter hci0 1;");
    assert_string_equal(ask(state, "adapter hci7 off"), "error there is no such adapter");
    assert_string_equal(ask(state, "adapter hci0 explode"),
                        "error expected remove, add, off, on or pull");
    assert_string_equal(ask(state, "adapter hci0 add hci2"),
                        "error only an adapter that comes back can have another name");
    ((struct player *)*state)->world->adapters[0].present = false;
    assert_string_equal(ask(state, "adapter hci0 add eth0"),
                        "error expected a name such as hci2 that is free");
    ask(state, "adapter hci0 add hci2");
    assert_string_equal(ask(state, "adapter hci0 off"), "error there is no such adapter");
    assert_string_equal(ask(state, "adapter hci2 pull"), "ok");
}

static void faults_are_switched_by_name(void **state)
{
    struct player *player = *state;

    assert_string_equal(ask(state, "fault lamp connect_mute on"), "ok");
    assert_string_equal(ask(state, "fault lamp resolve_empty on"), "ok");
    assert_string_equal(ask(state, "fault hci0 rfkill on"), "ok");
    assert_done(state, "fault - 8 1;fault - 128 1;fault hci0 65536 1;");
    assert_int_equal(lamp(state)->faults, SIM_FAULT_CONNECT_MUTE | SIM_FAULT_RESOLVE_EMPTY);
    assert_int_equal(player->world->adapters[0].faults, SIM_FAULT_RFKILL);
    assert_string_equal(ask(state, "fault lamp connect_mute off"), "ok");
    assert_int_equal(lamp(state)->faults, SIM_FAULT_RESOLVE_EMPTY);
    assert_string_equal(ask(state, "fault lamp rfkill on"),
                        "error the faults are connect_hollow, connect_abort, connect_vanish, "
                        "connect_mute, connect_busy, connect_auth, resolve_early, resolve_empty, "
                        "notify_held, notify_busy and acquire_mute");
    assert_string_equal(ask(state, "fault hci0 connect_mute on"),
                        "error the faults are rfkill, scan_busy, filter_refused and deaf");
    assert_string_equal(ask(state, "fault sun rfkill on"),
                        "error there is no such peripheral or adapter");
}

static void what_a_peripheral_is_changes_while_it_is_played(void **state)
{
    struct sim_characteristic *power = sim_peripheral_find(lamp(state), "power");
    uint16_t handle = power->handle;

    assert_string_equal(ask(state, "services lamp"), "ok");
    assert_string_equal(ask(state, "services lamp 2"), "ok");
    assert_int_equal(power->handle, handle + 10);
    assert_int_equal(power->cccd, handle + 11);
    assert_string_equal(ask(state, "services lamp 65530"), "error Numerical result out of range");
    assert_done(state, "services lamp;services lamp;");
    assert_string_equal(ask(state, "advertise lamp 0x0059 0102"), "ok");
    assert_string_equal(ask(state, "advertise lamp 0x0499 -"), "ok");
    assert_int_equal(lamp(state)->n_manufacturer, 1);
    assert_int_equal(lamp(state)->manufacturer[0].company, 0x0499);
    assert_int_equal(lamp(state)->manufacturer[0].data.length, 0);
    assert_string_equal(ask(state, "advertise lamp 65536 01"),
                        "error a company id is at most 0xffff");
    assert_string_equal(ask(state, "address lamp 4A:00:00:00:00:07"), "ok");
    assert_done(state, "forget lamp;");
    assert_int_equal(lamp(state)->address.b[0], 0x4a);
    assert_string_equal(ask(state, "address lamp 4A"), "error expected an address");
    assert_string_equal(ask(state, "connect lamp"), "ok");
    assert_string_equal(ask(state, "forget lamp"), "ok");
    assert_done(state, "connect lamp;forget lamp;");
}

static void connection_parameters_are_asked_for(void **state)
{
    assert_string_equal(ask(state, "parameters lamp 12 0 200"), "ok");
    assert_done(state, "parameters lamp 12 0 200;");
    assert_string_equal(ask(state, "parameters lamp 12 0 65536"),
                        "error each parameter is at most 65535");
    assert_string_equal(ask(state, "parameters lamp 12 x 200"), "error expected a number");
}

static void nonsense_gets_a_clear_answer(void **state)
{
    char line[CONTROL_MAX_LINE + 2];

    assert_string_equal(ask(state, ""), "error expected a command");
    assert_string_equal(ask(state, "  \t\r"), "error expected a command");
    assert_string_equal(ask(state, "dance"), "error there is no such command");
    assert_string_equal(ask(state, "state"), "error usage: state P");
    assert_string_equal(ask(state, "state lamp now"), "error usage: state P");
    assert_string_equal(ask(state, "state sun"), "error there is no such peripheral");
    assert_string_equal(ask(state, "get lamp hue"), "error there is no such characteristic");
    assert_string_equal(ask(state, "slow lamp down"), "error expected a number");
    assert_string_equal(ask(state, "refuse lamp maybe"), "error expected on or off");
    assert_string_equal(ask(state, "a b c d e f g"), "error too many words");
    memset(line, 'x', sizeof(line));
    line[CONTROL_MAX_LINE + 1] = '\0';
    assert_string_equal(ask(state, line), "error the line is too long");
    line[CONTROL_MAX_LINE] = '\0';
    assert_string_equal(ask(state, line), "error there is no such command");
}

static void quit_is_answered_too(void **state)
{
    assert_string_equal(ask(state, "quit\r"), "ok");
    assert_done(state, "quit;");
}

static void player_without_a_part_says_so(void **state)
{
    static const struct control_ops none = {0};
    struct player *player = *state;

    sim_peripheral_connected(lamp(state), 0);
    control_execute(player->world, &none, player, 0, "drop lamp", &player->answer);
    assert_string_equal(strbuf_str(&player->answer), "error not supported here");
    control_execute(player->world, &none, player, 0, "fault lamp connect_mute on", &player->answer);
    assert_string_equal(strbuf_str(&player->answer), "error not supported here");
    assert_int_equal(lamp(state)->faults, 0);
    control_execute(player->world, &none, player, 0, "services lamp", &player->answer);
    assert_string_equal(strbuf_str(&player->answer), "error not supported here");
    control_execute(player->world, &none, player, 0, "adapter hci0 off", &player->answer);
    assert_string_equal(strbuf_str(&player->answer), "error not supported here");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(list_and_state_tell_how_things_are),
        TEST(drop_loses_the_link_with_the_reason),
        TEST(vanished_peripheral_is_silent_before_its_link_is_lost),
        TEST(burst_is_answered_at_once_with_its_numbers),
        TEST(value_is_set_and_told),
        TEST(writes_are_told_once),
        TEST(adapters_are_pulled_and_put_back),
        TEST(faults_are_switched_by_name),
        TEST(what_a_peripheral_is_changes_while_it_is_played),
        TEST(connection_parameters_are_asked_for),
        TEST(nonsense_gets_a_clear_answer),
        TEST(quit_is_answered_too),
        TEST(player_without_a_part_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
