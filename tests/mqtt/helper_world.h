/* A loop, clients in it, and a record of what they emitted. */
#pragma once

#include "helper_broker.h"
#include "mqtt/client.h"
#include <stdbool.h>
#include <systemd/sd-event.h>

#define MAX_CLIENTS  3
#define MAX_RECORDED 8192

struct message {
    char *topic, *response_topic;
    char *payload; /* NUL-terminated */
    size_t length;
    uint8_t qos;
    bool retained, has_expiry;
    uint32_t expiry_s;
    char *correlation;
    size_t correlation_length;
};

struct published {
    uint64_t token;
    bool ok;
    int code;
};

struct world;

struct member {
    struct world *world;
    struct mqtt_client *client;
    struct mqtt_settings settings;
    bool up, stopped;
    unsigned n_up, n_down, n_subscribed, n_refused;
    char reason[32], text[512];
    bool was_up;
    unsigned window, window_qos0;
    uint32_t max_packet;
    struct published *published;
    size_t n_published;
    struct message *messages;
    size_t n_messages;
    /* called first for each event, if set */
    void (*hook)(struct member *member, const struct event *event);
    void *hook_data;
};

struct world {
    sd_event *event;
    struct member members[MAX_CLIENTS];
    uint64_t deadline_ms;
};

void world_init(struct world *world);
void world_done(struct world *world);

/* Settings for 127.0.0.1; strings are literals, nothing is freed. Change them, then start. */
struct member *world_add(struct world *world, const char *client_id, uint16_t port,
                         uint8_t protocol);
void member_start(struct member *member, const char *will_topic, const char *will_payload);
void member_stop(struct member *member); /* waits for `done` */
void member_free(struct member *member);

/* Runs the loop until `condition` is true; fails the test after `seconds`. */
#define run_until(world, seconds, condition)                                               \
    do {                                                                                   \
        world_arm(world, seconds);                                                         \
        while (!(condition))                                                               \
            if (!world_turn(world))                                                        \
                fail_msg("%s:%d: not within %d s: %s", __FILE__, __LINE__, (int)(seconds), \
                         #condition);                                                      \
    } while (0)
void world_arm(struct world *world, unsigned seconds);
bool world_turn(struct world *world); /* false: the time is over */

void member_publish(struct member *member, uint64_t token, const char *topic, const char *payload,
                    uint8_t qos, bool retain);
void member_subscribe(struct member *member, const char *filter);
/* connects and waits for it */
struct member *world_connect(struct world *world, const char *client_id, uint16_t port,
                             uint8_t protocol);
/* subscribes and waits for it */
void member_listen(struct member *member, const char *filter);
const struct published *member_answer(const struct member *member, uint64_t token);
uint64_t monotonic_ms(void);

/* what most tests start from */
struct fixture {
    struct world world;
    struct broker broker;
};
int fixture_setup(void **state);
int fixture_teardown(void **state);

#define ANONYMOUS "allow_anonymous true\n"
