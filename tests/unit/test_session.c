/* A peer's way from Connect to online: what it shows, and what it lacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

#define D0 100u

static struct world *begin(size_t n_devices)
{
    struct world *world = world_new(n_devices);

    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    return world;
}

static struct peer *peer_of(struct world *world)
{
    return world->gateway->peers[0];
}

static size_t count_logged(const struct world *world, enum log_level level, const char *part)
{
    size_t n = 0;

    for (size_t i = 0; i < world->n_seen; i++)
        n += world->seen[i].type == ACTION_LOG && world->seen[i].log.level == level &&
             strstr(world->seen[i].log.text, part);
    return n;
}

/* linked; only `level` is in its tree */
static void come_without_the_lamp(struct world *world)
{
    const struct gatt_characteristic tree[] = {{.service = bt_uuid_from_u16(0x180f),
                                                .uuid = bt_uuid_from_u16(0x2a19),
                                                .handle = LEVEL_HANDLE,
                                                .flags = GATT_FLAG_READ | GATT_FLAG_NOTIFY}};

    world_clear(world);
    world_hear(world, 0, D0);
    world_advance(world, 2000);
    world_link(world, D0, true);
    const struct action *resolve = world_expect(world, ACTION_RESOLVE);
    struct event event = {.type = EVENT_RESOLVE_RESULT,
                          .op = resolve->op,
                          .device = D0,
                          .resolved = {.characteristics = tree, .n_characteristics = 1}};
    world_event(world, &event);
}

static void online_peer_says_which_characteristic_it_lacks(void **state)
{
    struct world *world = begin(1);

    come_without_the_lamp(world); /* BlueZ's tree may be of long ago: forgotten once */
    world_link(world, D0, false);
    come_without_the_lamp(world);
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    const char *link = world_published(world, "g/d0/status/link");
    assert_non_null(strstr(link, "\"state\":\"online\",\"reason\":\"gatt_missing\""));
    assert_non_null(strstr(link, "connected, but without lamp: the peer has no such "
                                 "characteristic"));
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    assert_int_equal(count_logged(world, LOG_LEVEL_WARNING, "lamp"), 1);

    world_advance(world, 31000);
    world_link(world, D0, false);
    come_without_the_lamp(world); /* known by now: it is not said with every link */
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    assert_int_equal(peer_of(world)->reason, REASON_GATT_MISSING);
    assert_int_equal(count_logged(world, LOG_LEVEL_WARNING, "lamp"), 0);
    world_free(world);
}

static void what_cannot_be_subscribed_is_missing_only_to_who_subscribes(void **state)
{
    struct world *world = world_new(1);
    struct characteristic_settings *list = world->settings.devices[0].characteristics;

    list[1].uuid = list[0].uuid; /* `lamp` only reads it */
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_hear(world, 0, D0);
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_NOT_SUPPORTED);
    assert_non_null(strstr(world_published(world, "g/d0/status/link"),
                           "connected, but without level: the peer offers no notifications"));
    assert_null(peer_of(world)->entries[1].missing);
    world_free(world);
}

static void subscription_that_ends_at_another_adapter_is_none_of_this_link(void **state)
{
    struct world *world = begin(1);

    world_online(world, 0);
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    struct event lost = {.type = EVENT_SUBSCRIPTION_LOST,
                         .device = 999,
                         .value = {.subscription = subscribe.subscribe.subscription}};
    world_event(world, &lost);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    lost.device = D0;
    world_event(world, &lost);
    assert_int_equal(peer_of(world)->state, PEER_STATE_CONFIGURING);
    world_free(world);
}

static void lost_link_says_that_it_is_tried_again(void **state)
{
    struct world *world = begin(1);

    world_online(world, 0);
    world_advance(world, 31000);
    world_clear(world);
    world_link(world, D0, false);
    const char *link = world_published(world, "g/d0/status/link");
    assert_non_null(strstr(link, "\"reason\":\"link_lost\""));
    assert_non_null(strstr(link, "the link was lost; trying to reach it again"));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(online_peer_says_which_characteristic_it_lacks),
        cmocka_unit_test(what_cannot_be_subscribed_is_missing_only_to_who_subscribes),
        cmocka_unit_test(subscription_that_ends_at_another_adapter_is_none_of_this_link),
        cmocka_unit_test(lost_link_says_that_it_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
