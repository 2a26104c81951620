/* A new version of the file while everything runs: only what changed is touched. The old settings
 * are freed at once each time, so that a sanitizer sees who still looks at them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "helper_config.h"
#include "helper_world.h"

#define D0 100u
#define D1 101u

#define HEAD                               \
    "mqtt: { url: mqtt://broker }\n"       \
    "gateway: { id: gw, base_topic: g }\n" \
    "devices:\n"
#define CHARACTERISTICS(level, more)                        \
    "    characteristics:\n"                                \
    "      level: { uuid: 0x2A19, subscribe: true, " level  \
    "               fields: { value: { type: uint8 } } }\n" \
    "      lamp: { uuid: 0xFFE1, writable: true,\n"         \
    "              fields: { value: { type: uint8 } } }\n" more
#define DEVICE(id, number, keys, level, more)                       \
    "  " id ":\n"                                                   \
    "    match: { address: \"C0:00:00:00:00:0" number "\" }\n" keys \
    CHARACTERISTICS(level, more)
#define PLAIN(id, number) DEVICE(id, number, "", "", "")
#define TWO               PLAIN("d0", "0") PLAIN("d1", "1")

static struct world *begin(const char *text)
{
    struct world *world = world_new(0);

    world->reloaded = settings_from_text(text);
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_clear(world);
    return world;
}

static void take(struct world *world, const char *text)
{
    world_clear(world);
    assert_int_equal(world_reload(world, settings_from_text(text)), 0);
}

static struct peer *peer_of(struct world *world, const char *id)
{
    return gateway_find_peer(world->gateway, id, strlen(id));
}

static struct action online(struct world *world, size_t peer)
{
    world_online(world, peer);
    struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    world_clear(world);
    return subscribe;
}

static bool touches_bluez(const struct world *world)
{
    for (size_t i = 0; i < world->n_seen; i++)
        if (world->seen[i].type <= ACTION_REMOVE_DEVICE &&
            world->seen[i].type != ACTION_SCAN_START && world->seen[i].type != ACTION_SCAN_STOP)
            return true;
    return false;
}

static bool was_asked(const struct world *world, enum action_type type, const char *filter)
{
    for (size_t i = 0; i < world->n_seen; i++)
        if (world->seen[i].type == type && strcmp(world->seen[i].topic.filter, filter) == 0)
            return true;
    return false;
}

static void assert_contains(const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        fail_msg("'%s' is not in '%s'", part, text ? text : "(nothing)");
}

/* ---- what stays ---- */

static void the_same_file_touches_nothing(void **state)
{
    struct world *world = begin(HEAD TWO);
    const struct action subscribe = online(world, 0);
    struct peer *peer = peer_of(world, "d0");
    uint32_t generation = peer->generation;

    for (int i = 0; i < 3; i++) {
        take(world, HEAD TWO);
        assert_ptr_equal(peer_of(world, "d0"), peer);
        assert_int_equal(peer->generation, generation);
        assert_false(touches_bluez(world));
        assert_int_equal(world_count_published(world, "g/d0/status/availability"), 0);
        assert_int_equal(world_count(world, ACTION_TOPIC_SUBSCRIBE), 0);
        assert_int_equal(world_count(world, ACTION_RECONNECT), 0);
        assert_contains(world_published(world, "g/bridge/gw/event"),
                        "\"event\":\"reloaded\",\"added\":0,\"removed\":0,\"changed\":0,"
                        "\"unchanged\":2");
        world_value(world, &subscribe, "\x07", 1);
        assert_contains(world_published(world, "g/d0/level"), "\"value\":7");
    }
    world_free(world);
}

static void commands_run_on_through_a_reload_of_another_device(void **state)
{
    struct world *world = begin(HEAD TWO);

    online(world, 0);
    world_message(world, "g/d0/lamp/set", "1", false); /* runs */
    world_message(world, "g/d0/lamp/set", "2", false); /* waits */
    const struct action write = *world_expect(world, ACTION_WRITE);
    take(world, HEAD PLAIN("d0", "0") DEVICE("d1", "1", "    name: Other\n", "", ""));
    assert_null(world_published(world, "g/d0/lamp/result"));
    world_answer(world, &write, BT_STATUS_OK);
    assert_contains(world_published(world, "g/d0/lamp/result"), "\"status\":\"ok\"");
    const struct action *next = world_expect(world, ACTION_READ); /* back */
    world_answer(world, next, BT_STATUS_OK);
    assert_int_equal(world_expect(world, ACTION_WRITE)->write.data[0], 2);
    world_free(world);
}

/* d0 polls with these steps, and does so; then d1 changes */
static struct world *reload_while_polling(const char *poll)
{
    char text[2048];
    struct world *world;

    snprintf(text, sizeof(text),
             HEAD "  d0:\n    match: { address: \"C0:00:00:00:00:00\" }\n%s" CHARACTERISTICS(
                 "", "") "%s",
             poll, PLAIN("d1", "1"));
    world = begin(text);
    world_online(world, 0);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    strcat(text, "      more: { uuid: 0x2A00 }\n"); /* of d1 */
    take(world, text);
    world_clear(world);
    return world;
}

static void a_sequence_runs_on_when_its_device_is_the_same(void **state)
{
    struct world *world = reload_while_polling(
        "    poll: { every: 1m, steps: [ { write: { characteristic: lamp, value: 1 } },\n"
        "            { delay: 5s }, { write: { characteristic: lamp, value: 2 } } ] }\n");

    world_advance(world, 5100);
    assert_int_equal(world_expect(world, ACTION_WRITE)->write.data[0], 2);
    world_free(world);
}

static void a_sequence_keeps_its_deadline_when_its_device_is_the_same(void **state)
{
    struct world *world = reload_while_polling(
        "    poll: { every: 1m, timeout: 7s,\n"
        "            steps: [ { write: { characteristic: lamp, value: 1 } },\n"
        "                     { repeat: { every: 1s, until: { characteristic: level },\n"
        "                                 steps: [ { delay: 100ms } ] } } ] }\n");

    world_advance(world, 7100);
    const struct action *log = world_expect(world, ACTION_LOG);
    while (log && !strstr(log->log.text, "its timeout of 7s"))
        log = world_find(world, ACTION_LOG, log);
    assert_non_null(log);
    world_free(world);
}

/* ---- what changes without the link ---- */

static void changed_publish_rules_keep_the_link_and_count_from_the_next_value(void **state)
{
    struct world *world = begin(HEAD TWO);
    const struct action subscribe = online(world, 0);
    struct peer *peer = peer_of(world, "d0");

    take(world, HEAD DEVICE("d0", "0", "", "payload: value, retain: false, ", "") PLAIN("d1", "1"));
    assert_ptr_equal(peer_of(world, "d0"), peer);
    assert_int_equal(peer->state, PEER_STATE_ONLINE);
    assert_false(touches_bluez(world));
    assert_int_equal(world_count_published(world, "g/d0/status/availability"), 0);
    assert_string_equal(world_published(world, "g/d0/level"), ""); /* not retained any more */
    assert_contains(world_published(world, "g/bridge/gw/event"), "\"changed\":1,\"unchanged\":1");
    world_clear(world);
    world_value(world, &subscribe, "\x07", 1);
    assert_string_equal(world_published(world, "g/d0/level"), "7");
    world_free(world);
}

static void a_renamed_characteristic_keeps_its_subscription_and_clears_its_topic(void **state)
{
    struct world *world = begin(HEAD PLAIN("d0", "0"));
    const struct action subscribe = online(world, 0);

    take(world, HEAD "  d0:\n    match: { address: \"C0:00:00:00:00:00\" }\n"
                     "    characteristics:\n"
                     "      lamp: { uuid: 0xFFE1, writable: true }\n"
                     "      charge: { uuid: 0x2A19, subscribe: true,\n"
                     "                fields: { percent: { type: uint8 } } }\n");
    assert_false(touches_bluez(world));
    assert_string_equal(world_published(world, "g/d0/level"), "");
    assert_null(world_published(world, "g/d0/lamp")); /* which is the same */
    assert_contains(world_published(world, "g/bridge/gw/devices"), "g/d0/charge");
    world_value(world, &subscribe, "\x07", 1);
    assert_contains(world_published(world, "g/d0/charge"), "\"percent\":7");
    world_free(world);
}

static void subscriptions_come_and_go_on_the_same_link(void **state)
{
    struct world *world = begin(HEAD PLAIN("d0", "0"));
    const struct action subscribe = online(world, 0);
    struct peer *peer = peer_of(world, "d0");
    uint32_t generation = peer->generation;

    take(world, HEAD "  d0:\n    match: { address: \"C0:00:00:00:00:00\" }\n"
                     "    characteristics:\n"
                     "      level: { uuid: 0x2A19 }\n"
                     "      lamp: { uuid: 0xFFE1, subscribe: true }\n");
    const struct action *end = world_expect(world, ACTION_UNSUBSCRIBE);
    assert_int_equal(end->subscribe.handle, LEVEL_HANDLE);
    assert_int_equal(end->subscribe.subscription, subscribe.subscribe.subscription);
    world_value(world, &subscribe, "\x07", 1); /* was on its way */
    assert_null(world_published(world, "g/d0/level"));
    const struct action begun = *world_expect(world, ACTION_SUBSCRIBE);
    assert_int_equal(begun.subscribe.handle, LAMP_HANDLE);
    world_answer(world, &begun, BT_STATUS_OK);
    assert_int_equal(peer->state, PEER_STATE_ONLINE);
    assert_int_equal(peer->generation, generation);
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 0);
    world_value(world, &begun, "\x07", 1);
    assert_non_null(world_published(world, "g/d0/lamp"));
    world_free(world);
}

static void silence_begins_with_a_subscription_that_comes_with_the_reload(void **state)
{
#define SILENT(keys)                                                               \
    HEAD "  d0:\n    match: { address: \"C0:00:00:00:00:00\" }\n    silence: 2m\n" \
         "    characteristics: { level: { uuid: 0x2A19 }, lamp: { uuid: 0xFFE1" keys " } }\n"
    struct world *world = begin(SILENT(""));

    world_hear(world, 0, 100);
    world_link(world, 100, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    assert_int_equal(peer_of(world, "d0")->state, PEER_STATE_ONLINE);
    world_advance(world, 500000); /* nothing is subscribed: nothing is missed */
    take(world, SILENT(", subscribe: true"));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    world_advance(world, 119000);
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    world_advance(world, 2000);
    world_expect(world, ACTION_DISCONNECT);
    world_free(world);
}

static void two_entries_of_one_characteristic_share_it_after_the_reload_too(void **state)
{
    struct world *world = begin(HEAD PLAIN("d0", "0"));
    const struct action subscribe = online(world, 0);

    take(world, HEAD DEVICE("d0", "0", "", "",
                            "      again: { uuid: 0x2A19, subscribe: true }\n"
                            "      third: { uuid: 0x2A19, subscribe: true }\n"));
    assert_false(touches_bluez(world));
    world_value(world, &subscribe, "\x07", 1);
    assert_int_equal(world_count_published(world, "g/d0/level"), 1);
    assert_int_equal(world_count_published(world, "g/d0/again"), 1);
    assert_int_equal(world_count_published(world, "g/d0/third"), 1);
    take(world, HEAD PLAIN("d0", "0"));
    assert_false(touches_bluez(world));
    world_clear(world);
    world_value(world, &subscribe, "\x08", 1);
    assert_int_equal(world_count_published(world, "g/d0/level"), 1);
    assert_null(world_published(world, "g/d0/again"));
    world_free(world);
}

#define CALM(more)                                         \
    HEAD "  d0:\n"                                         \
         "    match: { address: \"C0:00:00:00:00:00\" }\n" \
         "    characteristics:\n"                          \
         "      level: { uuid: 0x2A19" more " }\n"

static void what_a_request_subscribes_meanwhile_stays(void **state)
{
    struct world *world = begin(CALM(""));

    world_hear(world, 0, D0);
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    assert_int_equal(peer_of(world, "d0")->state, PEER_STATE_ONLINE);
    world_message(world, "g/bridge/gw/request/subscribe",
                  "{\"device\":\"d0\",\"characteristic\":\"level\"}", false);
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    take(world, CALM(", retain: false"));
    assert_int_equal(world_count(world, ACTION_UNSUBSCRIBE), 0);
    world_answer(world, &subscribe, BT_STATUS_OK);
    assert_contains(world_published(world, "g/bridge/gw/response/subscribe"), "true");
    world_value(world, &subscribe, "\x07", 1);
    assert_contains(world_published(world, "g/d0/level"), "7");
    world_free(world);
}

static void what_waits_for_a_characteristic_that_goes_is_cancelled_the_rest_stays(void **state)
{
    struct world *world = begin(HEAD PLAIN("d0", "0"));

    online(world, 0);
    world_message(world, "g/d0/level/get", "", false); /* runs */
    world_message(world, "g/d0/lamp/set", "1", false);
    world_message(world, "g/d0/level/get", "", false);
    const struct action read = *world_expect(world, ACTION_READ);
    take(world, HEAD "  d0:\n    match: { address: \"C0:00:00:00:00:00\" }\n"
                     "    characteristics:\n"
                     "      lamp: { uuid: 0xFFE1, writable: true }\n");
    assert_int_equal(world_count_published(world, "g/d0/level/result"), 2);
    assert_contains(world_published(world, "g/d0/level/result"), "\"cancelled\"");
    assert_int_equal(world_expect(world, ACTION_WRITE)->write.handle, LAMP_HANDLE);
    world_answer(world, &read, BT_STATUS_OK); /* nobody's now */
    assert_int_equal(world_count_published(world, "g/d0/level/result"), 2);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    assert_contains(world_published(world, "g/d0/lamp/result"), "\"status\":\"ok\"");
    world_free(world);
}

static void a_frame_that_has_begun_is_finished_after_the_reload(void **state)
{
    static const char line[] = "frame: { delimiter: \"\\n\" }, payload: raw, ";
    char text[1024];
    struct world *world;

    snprintf(text, sizeof(text),
             HEAD "  d0:\n    match: { address: \"C0:00:00:00:00:00\" }\n"
                  "    characteristics:\n"
                  "      level: { uuid: 0x2A19, subscribe: true, %s }\n",
             line);
    world = begin(text);
    const struct action subscribe = online(world, 0);
    world_value(world, &subscribe, "he", 2);
    strcat(text, "      lamp: { uuid: 0x2A19, subscribe: true, payload: raw }\n");
    take(world, text);
    world_value(world, &subscribe, "llo\n", 4);
    assert_string_equal(world_published(world, "g/d0/level"), "hello");
    world_free(world);
}

static void a_written_value_is_published_once_over_a_reload(void **state)
{
    static const char before[] =
        HEAD "  d0:\n    match: { address: \"C0:00:00:00:00:00\" }\n"
             "    characteristics:\n"
             "      lamp: { uuid: 0xFFE1, writable: true, subscribe: true,\n"
             "              fields: { value: { type: uint8 } } }\n";
    struct world *world = begin(before);
    char after[sizeof(before) + 32];

    snprintf(after, sizeof(after), "%s    name: Lamp\n", before);
    const struct action subscribe = online(world, 0);
    world_message(world, "g/d0/lamp/set", "42", false);
    world_value(world, &subscribe, "\x2a", 1);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    const struct action read = *world_expect(world, ACTION_READ);
    assert_int_equal(world_count_published(world, "g/d0/lamp"), 1);
    take(world, after);
    world_answer(world, &read, BT_STATUS_OK); /* 0x2a: nothing new */
    assert_int_equal(world_count_published(world, "g/d0/lamp"), 0);
    world_free(world);
}

/* ---- what changes with the link ---- */

static void a_changed_match_reconnects_and_keeps_the_topics(void **state)
{
    struct world *world = begin(HEAD PLAIN("d0", "0"));
    const struct action subscribe = online(world, 0);

    world_message(world, "g/d0/lamp/set", "1", false);
    const struct action write = *world_expect(world, ACTION_WRITE);
    take(world, HEAD PLAIN("d0", "5"));
    const struct action disconnect = *world_expect(world, ACTION_DISCONNECT);
    assert_int_equal(disconnect.device, D0);
    assert_int_equal(world_expect(world, ACTION_UNSUBSCRIBE)->subscribe.handle, LEVEL_HANDLE);
    assert_contains(world_published(world, "g/d0/lamp/result"), "\"cancelled\"");
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    assert_null(world_published(world, "g/d0/level")); /* the device is still there */
    assert_int_equal(world_count(world, ACTION_TOPIC_SUBSCRIBE), 0);
    assert_int_equal(world_count(world, ACTION_TOPIC_UNSUBSCRIBE), 0);

    /* what is late about the old one changes nothing */
    struct peer *peer = peer_of(world, "d0");
    enum peer_state before = peer->state;
    world_clear(world);
    world_answer(world, &write, BT_STATUS_OK);
    world_value(world, &subscribe, "\x07", 1);
    world_answer(world, &disconnect, BT_STATUS_OK);
    world_link(world, D0, false);
    assert_null(world_published(world, "g/d0/level"));
    assert_null(world_published(world, "g/d0/lamp/result"));
    assert_int_equal(peer->state, before);
    assert_null(world->gateway->leaving);

    world_hear(world, 5, 105);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, 105);
    world_free(world);
}

static void a_topic_that_goes_together_with_the_link_is_cleared(void **state)
{
    struct world *world = begin(HEAD PLAIN("d0", "0"));

    online(world, 0);
    take(world, HEAD "  d0:\n    match: { address: \"C0:00:00:00:00:05\" }\n"
                     "    characteristics:\n"
                     "      lamp: { uuid: 0xFFE1, writable: true }\n");
    assert_string_equal(world_published(world, "g/d0/level"), "");
    assert_null(world_published(world, "g/d0/lamp"));
    world_free(world);
}

static void a_device_with_another_name_inherits_the_object_of_the_old_one(void **state)
{
    struct world *world = begin(HEAD PLAIN("d0", "0"));

    online(world, 0);
    take(world, HEAD PLAIN("hall", "0"));
    assert_null(peer_of(world, "d0"));
    assert_string_equal(world_published(world, "g/d0/status/availability"), "");
    assert_string_equal(world_published(world, "g/d0/status/link"), "");
    assert_string_equal(world_published(world, "g/d0/level"), "");
    assert_null(world_find(world, ACTION_CONNECT, NULL)); /* the link is still there */
    world_link(world, D0, false);
    world_advance(world, 100);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, D0);
    world_free(world);
}

static void one_that_was_just_heard_need_not_be_heard_again(void **state)
{
    struct world *world = begin("bluetooth: { connections: 1 }\n" HEAD TWO);

    world_hear(world, 0, D0); /* connects, so that the other one waits */
    world_hear(world, 1, D1);
    take(world, "bluetooth: { connections: 2 }\n" HEAD PLAIN("d0", "0") PLAIN("hall", "1"));
    world_link(world, D0, true); /* the token is free */
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, D1);
    assert_int_equal(peer_of(world, "hall")->state, PEER_STATE_CONNECTING);
    assert_false(peer_of(world, "hall")->blind);
    world_free(world);
}

static void the_link_of_one_that_left_counts_until_it_is_down(void **state)
{
    struct world *world = begin("bluetooth: { connections: 1 }\n" HEAD TWO);

    online(world, 0);
    take(world, "bluetooth: { connections: 1 }\n" HEAD PLAIN("d1", "1"));
    world_hear(world, 1, D1);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_advance(world, DISCONNECT_MS + 100); /* no answer: once more */
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 2);
    world_link(world, D0, false);
    world_hear(world, 1, D1);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, D1);
    world_free(world);
}

static void a_cancelled_connect_holds_the_token_until_it_is_over(void **state)
{
    struct world *world = begin(HEAD TWO);

    world_hear(world, 0, D0);
    const struct action connect = *world_expect(world, ACTION_CONNECT);
    take(world, HEAD PLAIN("d1", "1"));
    const struct action disconnect = *world_expect(world, ACTION_DISCONNECT);
    world_hear(world, 1, D1);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_answer(world, &connect, BT_STATUS_CANCELLED);
    world_answer(world, &disconnect, BT_STATUS_OK);
    world_hear(world, 1, D1);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, D1);
    world_free(world);
}

/* ---- what comes and goes ---- */

static void a_removed_device_answers_says_offline_and_leaves_nothing_behind(void **state)
{
    struct world *world = begin(HEAD TWO);

    online(world, 0);
    world_message(world, "g/d0/lamp/set", "1", false);
    world_message(world, "g/d0/lamp/set", "2", false);
    world_message(world, "g/d1/lamp/set", "3", false); /* waits for its link */
    take(world, HEAD PLAIN("d2", "2"));
    assert_int_equal(world_count_published(world, "g/d0/lamp/result"), 2);
    assert_int_equal(world_count_published(world, "g/d1/lamp/result"), 1);
    assert_contains(world_published(world, "g/d1/lamp/result"), "\"cancelled\"");
    assert_int_equal(world_count_published(world, "g/d0/status/availability"), 2);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "");
    assert_string_equal(world_published(world, "g/d0/status/link"), "");
    assert_string_equal(world_published(world, "g/d0/level"), "");
    assert_true(was_asked(world, ACTION_TOPIC_UNSUBSCRIBE, "g/d0/+/set/#"));
    assert_true(was_asked(world, ACTION_TOPIC_SUBSCRIBE, "g/d2/+/set/#"));
    assert_contains(world_published(world, "g/bridge/gw/event"),
                    "\"added\":1,\"removed\":2,\"changed\":0,\"unchanged\":0");
    assert_null(strstr(world_published(world, "g/bridge/gw/devices"), "\"d0\""));
    world_message(world, "g/d0/lamp/set", "4", false);
    assert_int_equal(world_count_published(world, "g/d0/lamp/result"), 2);
    world_free(world);
}

static void what_is_held_back_of_a_device_that_leaves_comes_before_its_end(void **state)
{
    const char *files[] = {HEAD DEVICE("d0", "5", "", "publish: { min_interval: 2s },", ""),
                           HEAD PLAIN("d1", "1")};

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        struct world *world =
            begin(HEAD DEVICE("d0", "0", "", "publish: { min_interval: 2s },", ""));
        struct action subscribe = online(world, 0);

        world_value(world, &subscribe, "\1", 1);
        world_value(world, &subscribe, "\2", 1);
        take(world, files[i]);
        world_advance(world, 9000); /* BlueZ takes its time to end the link */
        assert_int_equal(world_count_published(world, "g/d0/level"), 1 + i);
        if (i == 0)
            assert_contains(world_retained(world, "g/d0/level"), ":2,");
        else
            assert_null(world_retained(world, "g/d0/level"));
        world_free(world);
    }
}

static void values_of_a_device_that_another_gateway_gets_are_not_sent_any_more(void **state)
{
    struct world *world =
        begin(HEAD DEVICE("d0", "0", "", "publish: { min_interval: 2s },", "") PLAIN("d1", "1"));
    struct action subscribe = online(world, 0);
    struct action other = online(world, 1);

    world_value(world, &subscribe, "\1", 1); /* the broker has it, */
    world_value(world, &other, "\1", 1);
    world_broker_down(world);
    world_advance(world, 2000);
    world_value(world, &subscribe, "\2", 1); /* this one waits, */
    world_value(world, &subscribe, "\3", 1); /* and this one is held back */
    take(world, HEAD DEVICE("d0", "0", "    gateway: attic\n", "", "") PLAIN("d1", "1"));
    world_broker_up(world);
    world_message(world, "g/bridge/gw/info", "{}", false); /* it has forgotten what it had */
    world_advance(world, 10000);
    assert_int_equal(world_count_published(world, "g/d0/level"), 0);
    assert_int_equal(world_count_published(world, "g/d1/level"), 1);
    assert_int_equal(world->gateway->counts.let_go, 2);
    world_free(world);
}

static void a_topic_that_goes_with_the_link_while_the_broker_is_away_is_cleared(void **state)
{
    struct world *world = begin(HEAD PLAIN("d0", "0"));

    online(world, 0);
    world_broker_down(world);
    take(world, HEAD "  d0:\n    match: { address: \"C0:00:00:00:00:05\" }\n"
                     "    characteristics:\n"
                     "      lamp: { uuid: 0xFFE1, writable: true }\n");
    world_broker_up(world);
    assert_int_equal(world_count_published(world, "g/d0/level"), 1);
    assert_string_equal(world_published(world, "g/d0/level"), "");
    world_free(world);
}

static void a_topic_that_goes_together_with_the_question_whose_it_is_is_cleared(void **state)
{
    struct world *world = begin(HEAD PLAIN("d0", "0"));

    online(world, 0);
    take(world, HEAD "  d0:\n    match: { address: \"C0:00:00:00:00:00\" }\n    gateway: gw\n"
                     "    characteristics:\n"
                     "      lamp: { uuid: 0xFFE1, writable: true }\n");
    assert_int_equal(world_count_published(world, "g/d0/level"), 1);
    assert_string_equal(world_published(world, "g/d0/level"), "");
    assert_null(world_published(world, "g/d0/lamp"));
    world_free(world);
}

/* the broker has the last message on a topic */
static void acknowledge(struct world *world, const char *topic)
{
    struct event event = {.type = EVENT_PUBLISHED, .published.ok = true};

    for (size_t i = 0; i < world->n_seen; i++)
        if (world->seen[i].type == ACTION_PUBLISH &&
            strcmp(world->seen[i].publish.topic, topic) == 0)
            event.published.token = world->seen[i].publish.token;
    world_event(world, &event);
}

static void a_topic_that_goes_twice_while_the_broker_is_slow_is_cleared_twice(void **state)
{
    static const char twin[] =
        HEAD DEVICE("d0", "0", "", "", "      twin: { uuid: 0x2A19, subscribe: true }\n");
    struct world *world = begin(twin);
    struct action subscribe = online(world, 0);

    world_value(world, &subscribe, "\1", 1);
    world->acknowledge = false;
    take(world, HEAD PLAIN("d0", "0"));
    acknowledge(world, "g/bridge/gw/devices");
    assert_int_equal(world_count_published(world, "g/d0/twin"), 1);
    assert_string_equal(world_published(world, "g/d0/twin"), "");
    take(world, twin);
    acknowledge(world, "g/bridge/gw/devices");
    world_value(world, &subscribe, "\2", 1);
    assert_string_not_equal(world_published(world, "g/d0/twin"), "");
    take(world, HEAD PLAIN("d0", "0"));
    acknowledge(world, "g/bridge/gw/devices");
    assert_int_equal(world_count_published(world, "g/d0/twin"), 1);
    assert_string_equal(world_published(world, "g/d0/twin"), "");
    world_free(world);
}

static void topics_are_cleared_also_when_the_broker_is_away_meanwhile(void **state)
{
    struct world *world = begin(HEAD TWO);

    world_broker_down(world);
    take(world, HEAD PLAIN("d1", "1"));
    world_broker_up(world);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "");
    assert_string_equal(world_published(world, "g/d0/status/link"), "");
    assert_string_equal(world_published(world, "g/d0/level"), "");
    assert_non_null(world_published(world, "g/d1/status/link"));
    world_free(world);
}

static void an_added_device_is_announced_and_connects(void **state)
{
    struct world *world = begin(HEAD PLAIN("d0", "0"));

    online(world, 0);
    world_advance(world, 60000); /* nobody is missing: the scan is off */
    take(world, HEAD TWO);
    assert_non_null(world_find(world, ACTION_SCAN_START, NULL));
    assert_string_equal(world_published(world, "g/d1/status/availability"), "offline");
    assert_contains(world_published(world, "g/d1/status/link"), "\"reason\":\"not_heard\"");
    assert_contains(world_published(world, "g/bridge/gw/devices"), "g/d1/level");
    world_online(world, 1);
    assert_int_equal(peer_of(world, "d0")->state, PEER_STATE_ONLINE);
    world_free(world);
}

static void late_answers_for_a_place_that_somebody_else_has_change_nothing(void **state)
{
    struct world *world = begin(HEAD PLAIN("d0", "0"));
    const struct action subscribe = online(world, 0);

    world_message(world, "g/d0/level/get", "", false);
    const struct action read = *world_expect(world, ACTION_READ);
    take(world, HEAD);
    const struct action disconnect = *world_expect(world, ACTION_DISCONNECT);
    world_link(world, D0, false);
    take(world, HEAD PLAIN("d1", "1"));
    struct peer *peer = peer_of(world, "d1");
    assert_int_equal(peer->index, 0); /* the place is used again */
    world_hear(world, 1, D1);
    world_link(world, D1, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    uint64_t stale = world->gateway->counts.stale_answers;
    world_answer(world, &read, BT_STATUS_OK);
    world_answer(world, &disconnect, BT_STATUS_OK);
    world_value(world, &subscribe, "\x07", 1);
    assert_int_equal(world->gateway->counts.stale_answers, stale + 3);
    assert_null(world_published(world, "g/d1/level"));
    assert_int_equal(peer->state, PEER_STATE_ONLINE);
    world_free(world);
}

static void two_devices_may_change_their_addresses_for_one_another(void **state)
{
    struct world *world = begin(HEAD TWO);

    online(world, 0);
    take(world, HEAD PLAIN("d0", "1") PLAIN("d1", "0"));
    world_link(world, D0, false);
    const struct action *connect = world_expect(world, ACTION_CONNECT);
    assert_int_equal(connect->device, D0); /* the object of before */
    assert_int_equal(connect->op.peer, peer_of(world, "d1")->index);
    world_link(world, D0, true);
    world_clear(world);
    world_hear(world, 1, D1);
    connect = world_expect(world, ACTION_CONNECT);
    assert_int_equal(connect->device, D1);
    assert_int_equal(connect->op.peer, peer_of(world, "d0")->index);
    world_free(world);
}

static void a_peer_that_was_chosen_goes_to_who_names_it_by_address(void **state)
{
    static const char chosen[] =
        HEAD "  any:\n    match: { name: \"*\" }\n" CHARACTERISTICS("", "");
    struct event event = {.type = EVENT_DEVICE,
                          .device_info = {.adapter = ADAPTER_1,
                                          .device = D0,
                                          .address = {{0xc0, 0, 0, 0, 0, 0}},
                                          .name = "Lamp",
                                          .heard = true,
                                          .rssi = -60}};
    struct world *world = begin(chosen);
    char text[2048];

    world_event(world, &event);
    world_advance(world, BIND_WINDOW_MS + 100);
    assert_true(peer_of(world, "any")->bound);
    snprintf(text, sizeof(text), "%s%s", chosen, PLAIN("d0", "0"));
    take(world, text);
    assert_false(peer_of(world, "any")->bound);
    assert_ptr_equal(gateway_peer_of_address(world->gateway, &event.device_info.address),
                     peer_of(world, "d0"));
    assert_int_equal(world->gateway->n_unbound, 1);
    world_free(world);
}

/* ---- the rest of the file ---- */

static void changed_broker_settings_reconnect_there_and_leave_bluetooth_alone(void **state)
{
    struct world *world = begin(HEAD TWO);

    online(world, 0);
    take(world, "mqtt: { url: mqtt://other, username: u }\n"
                "gateway: { id: gw, base_topic: g }\ndevices:\n" TWO);
    assert_int_equal(world_count(world, ACTION_RECONNECT), 1);
    assert_string_equal(world_published(world, "g/bridge/gw/status"), "offline");
    assert_false(touches_bluez(world));
    world_broker_down(world);
    world_clear(world);
    world_broker_up(world);
    assert_string_equal(world_published(world, "g/bridge/gw/status"), "online");
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    world_free(world);
}

static void the_broker_is_left_when_it_has_what_was_for_it_or_a_second_later(void **state)
{
    static const char other[] = "mqtt: { url: mqtt://other }\n"
                                "gateway: { id: gw, base_topic: g }\ndevices:\n";
    static const char third[] = "mqtt: { url: mqtt://third }\n"
                                "gateway: { id: gw, base_topic: g }\ndevices:\n";
    struct event done = {.type = EVENT_PUBLISHED, .published.ok = true};
    struct world *world = begin(HEAD);

    world->acknowledge = false;
    take(world, other);
    assert_int_equal(world_count(world, ACTION_RECONNECT), 0);
    for (size_t i = 0; i < world->n_seen; i++)
        if (world->seen[i].type == ACTION_PUBLISH) {
            done.published.token = world->seen[i].publish.token;
            world_event(world, &done);
        }
    assert_int_equal(world_count(world, ACTION_RECONNECT), 1);
    world_broker_down(world);
    world_broker_up(world);

    take(world, third); /* one that takes nothing */
    world_advance(world, 900);
    assert_int_equal(world_count(world, ACTION_RECONNECT), 0);
    world_advance(world, 200);
    assert_int_equal(world_count(world, ACTION_RECONNECT), 1);
    world_broker_down(world);
    take(world, other); /* one that is not there */
    assert_int_equal(world_count(world, ACTION_RECONNECT), 1);
    world_free(world);
}

static void a_name_that_topics_have_needs_a_restart(void **state)
{
    static const char *const files[] = {
        "mqtt: { url: mqtt://broker }\ngateway: { id: other, base_topic: g }\ndevices:\n" TWO,
        "mqtt: { url: mqtt://broker }\ngateway: { id: gw, base_topic: b }\ndevices:\n" TWO,
    };
    struct world *world = begin(HEAD PLAIN("d0", "0"));

    online(world, 0);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        world_clear(world);
        assert_int_equal(world_reload(world, settings_from_text(files[i])), GATEWAY_E_REFUSED);
        assert_contains(world_published(world, "g/bridge/gw/event"), "\"reload_failed\"");
        assert_contains(world_published(world, "g/bridge/gw/event"), "needs a restart");
        assert_null(peer_of(world, "d1"));
        assert_int_equal(peer_of(world, "d0")->state, PEER_STATE_ONLINE);
        assert_false(touches_bluez(world));
    }
    world_free(world);
}

static void a_file_that_cannot_be_read_changes_nothing_and_is_told(void **state)
{
    struct world *world = begin(HEAD TWO);

    online(world, 0);
    actions_reset(&world->actions);
    gateway_reload_failed(world->gateway, world->now, "c.yaml:1:1: error: x", &world->actions);
    const struct action *event = NULL;
    for (size_t i = 0; i < world->actions.n; i++)
        if (world->actions.list[i].type == ACTION_PUBLISH)
            event = &world->actions.list[i];
    assert_non_null(event);
    assert_contains(event->publish.topic, "/event");
    assert_contains(event->publish.payload, "c.yaml:1:1: error: x");
    assert_int_equal(peer_of(world, "d0")->state, PEER_STATE_ONLINE);
    world_free(world);
}

/* ---- requests ---- */

#define ALLOWED  "commands: { allow: [reload] }\n"
#define REQUEST  "g/bridge/gw/request/reload"
#define RESPONSE "g/bridge/gw/response/reload"

static void each_mistake_in_a_file_is_a_line_of_the_log(void **state)
{
    static const char *const lines[] = {
        "the configuration was not reloaded, and nothing has changed: c:1:1: error: x",
        "c:2:1: error: y"};
    struct world *world = begin(HEAD TWO);
    size_t n = 0;

    actions_reset(&world->actions);
    gateway_reload_failed(world->gateway, world->now, "c:1:1: error: x\nc:2:1: error: y",
                          &world->actions);
    for (size_t i = 0; i < world->actions.n; i++) {
        if (world->actions.list[i].type != ACTION_LOG)
            continue;
        assert_true(n < ARRAY_SIZE(lines));
        assert_string_equal(world->actions.list[i].log.text, lines[n++]);
    }
    assert_int_equal(n, ARRAY_SIZE(lines));
    world_free(world);
}

static void a_request_asks_for_a_reload_and_says_what_it_did(void **state)
{
    struct world *world = begin(ALLOWED HEAD TWO);

    world_message(world, REQUEST, "{\"id\":\"r1\"}", false);
    world_message(world, REQUEST, "{\"id\":\"r2\"}", false);
    assert_int_equal(world_count(world, ACTION_RELOAD), 1); /* is for both */
    assert_int_equal(world_count_published(world, RESPONSE), 0);
    take(world, ALLOWED HEAD PLAIN("d1", "5") PLAIN("d2", "2") PLAIN("d3", "3"));
    assert_int_equal(world_count_published(world, RESPONSE), 2);
    assert_contains(world_published(world, RESPONSE),
                    "{\"id\":\"r2\",\"status\":\"ok\",\"data\":{\"added\":2,\"removed\":1,"
                    "\"changed\":1,\"unchanged\":0,\"configuration\":\"");
    world_message(world, REQUEST, "", false);
    assert_int_equal(world_count(world, ACTION_RELOAD), 1);
    world_free(world);
}

static void a_request_hears_why_not(void **state)
{
    struct world *world = begin(ALLOWED HEAD TWO);
    char text[400];
    size_t seen = 0;

    memset(text, 'x', sizeof(text));
    memcpy(text + sizeof(text) - 5, " end", 5);
    world_message(world, REQUEST, "{\"id\":1}", false);
    actions_reset(&world->actions);
    gateway_reload_failed(world->gateway, world->now, text, &world->actions);
    for (size_t i = 0; i < world->actions.n; i++) {
        const struct action *action = &world->actions.list[i];
        if (action->type != ACTION_PUBLISH || strcmp(action->publish.topic, RESPONSE) != 0)
            continue;
        assert_contains(action->publish.payload, "\"code\":\"config_invalid\"");
        assert_contains(action->publish.payload, "xxx end\"");
        seen++;
    }
    assert_int_equal(seen, 1);

    world_message(world, REQUEST, "{\"id\":2}", false);
    world_clear(world);
    assert_int_equal(
        world_reload(world, settings_from_text(ALLOWED "mqtt: { url: mqtt://broker }\n"
                                                       "gateway: { id: no, base_topic: g }\n"
                                                       "devices:\n" TWO)),
        GATEWAY_E_REFUSED);
    assert_contains(world_published(world, RESPONSE), "gateway.id needs a restart");
    world_free(world);
}

static void requests_that_wait_are_bounded_and_answered_at_the_end(void **state)
{
    struct event stop = {.type = EVENT_STOP};
    struct world *world = begin(ALLOWED HEAD TWO);

    for (int i = 0; i < RELOADS_MAX; i++)
        world_message(world, REQUEST, "", false);
    assert_int_equal(world_count_published(world, RESPONSE), 0);
    world_message(world, REQUEST, "", false);
    assert_contains(world_published(world, RESPONSE), "\"queue_full\"");
    world_event(world, &stop);
    assert_int_equal(world_count_published(world, RESPONSE), RELOADS_MAX + 1);
    assert_contains(world_published(world, RESPONSE), "\"cancelled\"");
    world_free(world);
}

static void without_being_allowed_nobody_reloads(void **state)
{
    struct world *world = begin(HEAD TWO);

    world_message(world, REQUEST, "", false);
    assert_contains(world_published(world, RESPONSE), "\"not_authorized\"");
    assert_int_equal(world_count(world, ACTION_RELOAD), 0);
    take(world, ALLOWED HEAD TWO); /* which counts at once */
    world_message(world, REQUEST, "", false);
    assert_int_equal(world_count(world, ACTION_RELOAD), 1);
    world_free(world);
}

static void fewer_connections_count_from_now_on(void **state)
{
    struct world *world = begin(HEAD TWO);

    online(world, 0);
    take(world, "bluetooth: { connections: 1 }\n" HEAD TWO);
    assert_int_equal(peer_of(world, "d0")->state, PEER_STATE_ONLINE);
    world_hear(world, 1, D1);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    assert_int_equal(peer_of(world, "d1")->reason, REASON_NO_SLOT);
    take(world, HEAD TWO);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, D1);
    world_free(world);
}

static void another_adapter_lets_go_of_the_links_of_the_first(void **state)
{
    struct event second = {.type = EVENT_ADAPTER,
                           .adapter_info = {.adapter = 2, .name = "hci1", .powered = true}};
    struct world *world = begin("bluetooth: { adapters: [hci0] }\n" HEAD PLAIN("d0", "0"));

    world_event(world, &second);
    online(world, 0);
    take(world, "bluetooth: { adapters: [hci1] }\n" HEAD PLAIN("d0", "0"));
    assert_int_equal(world_expect(world, ACTION_DISCONNECT)->device, D0);
    world_link(world, D0, false);
    assert_int_equal(world_expect(world, ACTION_SCAN_START)->adapter, 2);
    world_hear(world, 0, D0); /* there, where it is not looked for */
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void it_stops_in_order_while_somebody_is_leaving(void **state)
{
    struct event stop = {.type = EVENT_STOP};
    struct world *world = begin(HEAD TWO);

    online(world, 0);
    take(world, HEAD PLAIN("d1", "1"));
    world_event(world, &stop);
    assert_true(world->quit);
    assert_int_equal(world_reload(world, settings_from_text(HEAD TWO)), GATEWAY_E_REFUSED);
    world_free(world);
}

static void bluez_may_go_while_somebody_is_leaving(void **state)
{
    struct event down = {.type = EVENT_BLUEZ_DOWN, .bluez_down = {.reason = "no_bluez"}};
    struct world *world = begin(HEAD TWO);

    online(world, 0);
    take(world, HEAD PLAIN("d1", "1"));
    assert_non_null(world->gateway->leaving);
    world_event(world, &down);
    assert_null(world->gateway->leaving);
    world_free(world);
}

static void a_pause_outlives_a_reload(void **state)
{
    struct world *world = begin(HEAD TWO);
    const char *changed[] = {HEAD TWO, HEAD DEVICE("d0", "0", "", "qos: 0,", "") PLAIN("d1", "1"),
                             HEAD DEVICE("d0", "0", "    connection: on_demand\n", "", "")};

    online(world, 0);
    world_message(world, "g/bridge/gw/request/pause", "{\"device\":\"d0\"}", false);
    world_answer(world, world_expect(world, ACTION_DISCONNECT), BT_STATUS_OK);
    world_link(world, D0, false);
    for (size_t i = 0; i < ARRAY_SIZE(changed); i++) {
        take(world, changed[i]);
        assert_contains(peer_of(world, "d0")->why, "paused by a request");
        world_hear(world, 0, D0);
        world_advance(world, 60000);
        assert_null(world_find(world, ACTION_CONNECT, NULL));
    }
    world_message(world, "g/bridge/gw/request/resume", "{\"device\":\"d0\"}", false);
    world_message(world, "g/bridge/gw/request/connect", "{\"device\":\"d0\"}", false);
    world_hear(world, 0, D0);
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void who_waits_for_the_link_of_a_device_that_leaves_is_answered(void **state)
{
    struct world *world = begin(HEAD TWO);

    world_message(world, "g/bridge/gw/request/connect", "{\"device\":\"d0\"}", false);
    take(world, HEAD PLAIN("d1", "1"));
    assert_contains(world_published(world, "g/bridge/gw/response/connect"), "\"cancelled\"");
    world_message(world, "g/bridge/gw/request/connect", "{\"device\":\"d0\"}", false);
    assert_contains(world_published(world, "g/bridge/gw/response/connect"), "\"unknown_device\"");
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_file_touches_nothing),
        cmocka_unit_test(commands_run_on_through_a_reload_of_another_device),
        cmocka_unit_test(a_sequence_runs_on_when_its_device_is_the_same),
        cmocka_unit_test(a_sequence_keeps_its_deadline_when_its_device_is_the_same),
        cmocka_unit_test(changed_publish_rules_keep_the_link_and_count_from_the_next_value),
        cmocka_unit_test(a_renamed_characteristic_keeps_its_subscription_and_clears_its_topic),
        cmocka_unit_test(subscriptions_come_and_go_on_the_same_link),
        cmocka_unit_test(silence_begins_with_a_subscription_that_comes_with_the_reload),
        cmocka_unit_test(two_entries_of_one_characteristic_share_it_after_the_reload_too),
        cmocka_unit_test(what_a_request_subscribes_meanwhile_stays),
        cmocka_unit_test(what_waits_for_a_characteristic_that_goes_is_cancelled_the_rest_stays),
        cmocka_unit_test(a_frame_that_has_begun_is_finished_after_the_reload),
        cmocka_unit_test(a_written_value_is_published_once_over_a_reload),
        cmocka_unit_test(a_changed_match_reconnects_and_keeps_the_topics),
        cmocka_unit_test(a_topic_that_goes_together_with_the_link_is_cleared),
        cmocka_unit_test(a_device_with_another_name_inherits_the_object_of_the_old_one),
        cmocka_unit_test(one_that_was_just_heard_need_not_be_heard_again),
        cmocka_unit_test(the_link_of_one_that_left_counts_until_it_is_down),
        cmocka_unit_test(a_cancelled_connect_holds_the_token_until_it_is_over),
        cmocka_unit_test(a_removed_device_answers_says_offline_and_leaves_nothing_behind),
        cmocka_unit_test(what_is_held_back_of_a_device_that_leaves_comes_before_its_end),
        cmocka_unit_test(values_of_a_device_that_another_gateway_gets_are_not_sent_any_more),
        cmocka_unit_test(a_topic_that_goes_with_the_link_while_the_broker_is_away_is_cleared),
        cmocka_unit_test(a_topic_that_goes_together_with_the_question_whose_it_is_is_cleared),
        cmocka_unit_test(a_topic_that_goes_twice_while_the_broker_is_slow_is_cleared_twice),
        cmocka_unit_test(topics_are_cleared_also_when_the_broker_is_away_meanwhile),
        cmocka_unit_test(an_added_device_is_announced_and_connects),
        cmocka_unit_test(late_answers_for_a_place_that_somebody_else_has_change_nothing),
        cmocka_unit_test(two_devices_may_change_their_addresses_for_one_another),
        cmocka_unit_test(a_peer_that_was_chosen_goes_to_who_names_it_by_address),
        cmocka_unit_test(changed_broker_settings_reconnect_there_and_leave_bluetooth_alone),
        cmocka_unit_test(the_broker_is_left_when_it_has_what_was_for_it_or_a_second_later),
        cmocka_unit_test(a_name_that_topics_have_needs_a_restart),
        cmocka_unit_test(a_file_that_cannot_be_read_changes_nothing_and_is_told),
        cmocka_unit_test(each_mistake_in_a_file_is_a_line_of_the_log),
        cmocka_unit_test(a_request_asks_for_a_reload_and_says_what_it_did),
        cmocka_unit_test(a_request_hears_why_not),
        cmocka_unit_test(requests_that_wait_are_bounded_and_answered_at_the_end),
        cmocka_unit_test(without_being_allowed_nobody_reloads),
        cmocka_unit_test(fewer_connections_count_from_now_on),
        cmocka_unit_test(another_adapter_lets_go_of_the_links_of_the_first),
        cmocka_unit_test(it_stops_in_order_while_somebody_is_leaving),
        cmocka_unit_test(bluez_may_go_while_somebody_is_leaving),
        cmocka_unit_test(a_pause_outlives_a_reload),
        cmocka_unit_test(who_waits_for_the_link_of_a_device_that_leaves_is_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
