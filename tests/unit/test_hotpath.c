/* One notification's way through the core: in the steady state it allocates nothing. This program
 * counts what malloc() and its kin are asked for; where somebody else has replaced them (a
 * sanitizer, valgrind) there is nothing to count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/outbox.h"
#include "core/payload.h"
#include "helper_schema.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long allocations;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void __libc_free(void *p);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    allocations++;
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    allocations++;
    return __libc_realloc(p, size);
}

void free(void *p)
{
    __libc_free(p);
}
#endif

struct source {
    struct schema *schema;
    char topic[40];
    uint8_t data[20];
    size_t length;
};

static void notify(const struct source *source, struct strbuf *text, struct outbox *outbox)
{
    struct value values[SCHEMA_MAX_FIELDS];

    assert_int_equal(codec_decode(source->schema, source->data, source->length, values, NULL), 0);
    strbuf_reset(text);
    payload_write(text, PAYLOAD_JSON, source->schema, values, source->data, source->length, 0,
                  false);
    struct outbox_put put = {.topic = source->topic,
                             .payload = text->data,
                             .length = text->length,
                             .qos = 1,
                             .retain = true};
    assert_int_equal(outbox_put(outbox, &put), 0);
}

static void deliver(struct outbox *outbox)
{
    struct outbox_message message;

    while (outbox_next(outbox, &message))
        assert_true(outbox_done(outbox, message.token));
}

static void a_notification_allocates_nothing(void **state)
{
    static const char *const schemas[] = {
        "temperature int16 scale=0.01; humidity uint8; voltage uint16 scale=0.001",
        "on bool; mode uint8 enum=0:off,1:on; rest bytes",
        "f float32; g sfloat",
        "name string length=3; long_name_of_a_field_that_takes_room uint64; x float64",
    };
    struct outbox_limits limits = {100, 100000};
    struct source sources[40];
    struct outbox *outbox = NULL;
    struct strbuf text = STRBUF_INIT;

    assert_int_equal(outbox_new(&limits, &outbox), 0);
    outbox_open(outbox, 20, 20);
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        struct source *source = &sources[i];
        source->schema = schema_from(schemas[i % ARRAY_SIZE(schemas)]);
        snprintf(source->topic, sizeof(source->topic), "gatt2mqtt/device_%zu/value", i);
        memset(source->data, 0, sizeof(source->data));
        memcpy(source->data, "\x00\x01\xc8\x41\x07", 5);
        if (i % 4 == 3)
            memcpy(source->data, "\xe2\x82\xac", 3);
        source->length = source->schema->min_length + (source->schema->variable ? i % 5 : 0);
    }
    for (int round = 0; round < 40; round++) {
        if (round == 20)
            allocations = 0;
        for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
            sources[i].data[3]++;
            notify(&sources[i], &text, outbox);
            if (i % (size_t)(1 + round % 7) == 0) /* at once, or some at a time */
                deliver(outbox);
        }
        deliver(outbox);
    }
    assert_int_equal(allocations, 0);
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
        schema_free(sources[i].schema);
    outbox_free(outbox);
    strbuf_done(&text);
}

static void a_full_buffer_allocates_nothing_either(void **state)
{
    struct outbox_limits limits = {40, 100000};
    struct outbox *outbox = NULL;
    char topic[40];

    assert_int_equal(outbox_new(&limits, &outbox), 0);
    for (int i = 0; i < 4000; i++) {
        if (i == 1000)
            allocations = 0;
        snprintf(topic, sizeof(topic), "topic/%d", i % 10);
        struct outbox_put put = {.topic = topic, .payload = topic, .length = 7};
        assert_int_equal(outbox_put(outbox, &put), 0);
    }
    assert_int_equal(allocations, 0);
    outbox_free(outbox);
}

static int setup(void **state)
{
    allocations = 0;
    return 0;
}

static void the_counter_counts(void **state)
{
    const char *preload = getenv("LD_PRELOAD");

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    if (preload && strstr(preload, "vgpreload"))
        skip();
    char *volatile p = strdup("x");
    free(p);
    assert_true(allocations > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_counter_counts, setup),
        cmocka_unit_test_setup(a_notification_allocates_nothing, setup),
        cmocka_unit_test_setup(a_full_buffer_allocates_nothing_either, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
