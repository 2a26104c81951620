/* The line protocol that steers a world; see control.h. */
#include "sim/control.h"

#include "util/num.h"
#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 6

struct command {
    struct sim_world *world;
    const struct control_ops *ops;
    void *user;
    uint64_t now_us;
    char *words[MAX_WORDS];
    size_t n_words;
    /* found by their names, where the command has them */
    struct sim_peripheral *p;
    struct sim_characteristic *c;
    struct strbuf *answer;
};

static void answer_ok(struct command *cmd)
{
    strbuf_puts(cmd->answer, "ok");
}

static void answer_error(struct command *cmd, const char *text)
{
    strbuf_reset(cmd->answer);
    strbuf_printf(cmd->answer, "error %s", text);
}

static void answer_errno(struct command *cmd, int r)
{
    switch (-r) {
    case 0: answer_ok(cmd); break;
    case ENOTCONN: answer_error(cmd, "not connected"); break;
    case ENODEV: answer_error(cmd, "that adapter is not there"); break;
    case EEXIST: answer_error(cmd, "it is there already"); break;
    case ENOMEM: answer_error(cmd, "out of memory"); break;
    case EOPNOTSUPP: answer_error(cmd, "not supported here"); break;
    default: answer_error(cmd, strerror(-r)); break;
    }
}

static void answer_bytes(struct command *cmd, const uint8_t *data, size_t length)
{
    if (length)
        strbuf_hex(cmd->answer, data, length);
    else
        strbuf_putc(cmd->answer, '-');
}

static bool word_is_on_off(struct command *cmd, const char *word, bool *ret_on)
{
    *ret_on = strcmp(word, "on") == 0;
    if (*ret_on || strcmp(word, "off") == 0)
        return true;
    answer_error(cmd, "expected on or off");
    return false;
}

static bool word_is_number(struct command *cmd, const char *word, uint32_t *ret_value)
{
    if (num_parse_u32(word, ret_value) == 0)
        return true;
    answer_error(cmd, "expected a number");
    return false;
}

static void tell_due(struct command *cmd)
{
    if (cmd->ops->due)
        cmd->ops->due(cmd->user, cmd->p);
}

/* ---- the commands ---- */

static void do_list(struct command *cmd)
{
    answer_ok(cmd);
    for (size_t i = 0; i < cmd->world->n_peripherals; i++)
        strbuf_printf(cmd->answer, " %s", cmd->world->peripherals[i].id);
}

static void do_state(struct command *cmd)
{
    const struct sim_peripheral *p = cmd->p;

    answer_ok(cmd);
    if (p->adapter != SIM_NO_ADAPTER)
        strbuf_printf(cmd->answer, " connected %s", cmd->world->adapters[p->adapter].name);
    else
        strbuf_puts(cmd->answer, p->present ? " advertising" : " absent");
    if (p->refuse)
        strbuf_puts(cmd->answer, " refusing");
    if (p->slow_us)
        strbuf_printf(cmd->answer, " slow=%llums", (unsigned long long)(p->slow_us / 1000));
}

static int drop(struct command *cmd, uint8_t reason)
{
    if (!cmd->ops->drop)
        return -EOPNOTSUPP;
    if (cmd->p->adapter == SIM_NO_ADAPTER)
        return -ENOTCONN;
    return cmd->ops->drop(cmd->user, cmd->p, reason);
}

static void do_drop(struct command *cmd)
{
    uint32_t reason = CONTROL_REASON_TIMEOUT;

    if (cmd->n_words > 2 && !word_is_number(cmd, cmd->words[2], &reason))
        return;
    if (reason < 1 || reason > UINT8_MAX)
        answer_error(cmd, "the reason is an HCI error code from 0x01 to 0xff");
    else
        answer_errno(cmd, drop(cmd, (uint8_t)reason));
}

static void set_presence(struct command *cmd, bool present)
{
    int r = 0;

    cmd->p->present = present;
    if (!present && cmd->p->adapter != SIM_NO_ADAPTER)
        r = drop(cmd, CONTROL_REASON_TIMEOUT);
    if (r == 0 && cmd->ops->presence)
        r = cmd->ops->presence(cmd->user, cmd->p);
    answer_errno(cmd, r);
}

static void do_vanish(struct command *cmd)
{
    set_presence(cmd, false);
}

static void do_appear(struct command *cmd)
{
    set_presence(cmd, true);
}

static void do_refuse(struct command *cmd)
{
    if (word_is_on_off(cmd, cmd->words[2], &cmd->p->refuse))
        answer_ok(cmd);
}

static void do_slow(struct command *cmd)
{
    uint32_t ms;

    if (!word_is_number(cmd, cmd->words[2], &ms))
        return;
    cmd->p->slow_us = (uint64_t)ms * 1000;
    answer_ok(cmd);
}

static void do_parameters(struct command *cmd)
{
    uint32_t value[3]; /* interval, latency, timeout */

    for (size_t i = 0; i < ARRAY_SIZE(value); i++) {
        if (!word_is_number(cmd, cmd->words[2 + i], &value[i]))
            return;
        if (value[i] > UINT16_MAX) {
            answer_error(cmd, "each parameter is at most 65535");
            return;
        }
    }
    answer_errno(cmd, cmd->ops->parameters
                          ? cmd->ops->parameters(cmd->user, cmd->p, (uint16_t)value[0],
                                                 (uint16_t)value[1], (uint16_t)value[2])
                          : -EOPNOTSUPP);
}

static void do_connect(struct command *cmd)
{
    answer_errno(cmd, cmd->ops->connect ? cmd->ops->connect(cmd->user, cmd->p) : -EOPNOTSUPP);
}

static void do_forget(struct command *cmd)
{
    answer_errno(cmd, cmd->ops->forget ? cmd->ops->forget(cmd->user, cmd->p) : -EOPNOTSUPP);
}

static void do_services(struct command *cmd)
{
    uint32_t by = 8;

    if (cmd->n_words > 2 && !word_is_number(cmd, cmd->words[2], &by))
        return;
    if (!cmd->ops->services) {
        answer_errno(cmd, -EOPNOTSUPP);
        return;
    }
    int r = by > UINT16_MAX ? -ERANGE : sim_peripheral_move_handles(cmd->p, (uint16_t)by);
    answer_errno(cmd, r < 0 ? r : cmd->ops->services(cmd->user, cmd->p));
}

static void do_advertise(struct command *cmd)
{
    uint8_t data[GATT_VALUE_MAX];
    size_t length = 0;
    uint32_t company;

    if (!word_is_number(cmd, cmd->words[2], &company))
        return;
    if (company > UINT16_MAX)
        answer_error(cmd, "a company id is at most 0xffff");
    else if (strcmp(cmd->words[3], "-") != 0 &&
             num_parse_hex(cmd->words[3], data, sizeof(data), &length) < 0)
        answer_error(cmd, "expected at most 512 bytes in hex, or -");
    else
        answer_errno(cmd, sim_peripheral_set_manufacturer(cmd->p, (uint16_t)company, data, length));
}

static void do_address(struct command *cmd)
{
    struct bt_address address;

    if (bt_address_parse(cmd->words[2], &address) < 0)
        answer_error(cmd, "expected an address");
    else if (cmd->p->adapter != SIM_NO_ADAPTER)
        answer_error(cmd, "it is connected");
    else if (!cmd->ops->forget)
        answer_errno(cmd, -EOPNOTSUPP);
    else {
        answer_errno(cmd, cmd->ops->forget(cmd->user, cmd->p));
        cmd->p->address = address;
    }
}

static void set_fault(uint32_t *faults, enum sim_fault fault, bool on)
{
    *faults = on ? *faults | (uint32_t)fault : *faults & ~(uint32_t)fault;
}

static void do_fault(struct command *cmd)
{
    struct sim_peripheral *p = sim_world_find(cmd->world, cmd->words[1]);
    struct sim_adapter *adapter = p ? NULL : sim_world_find_adapter(cmd->world, cmd->words[1]);
    enum sim_fault fault;
    bool on;

    if (!p && !adapter) {
        answer_error(cmd, "there is no such peripheral or adapter");
        return;
    }
    if (!sim_fault_parse(cmd->words[2], adapter != NULL, &fault)) {
        strbuf_printf(cmd->answer, "error the faults are %s", sim_fault_names(adapter != NULL));
        return;
    }
    if (!word_is_on_off(cmd, cmd->words[3], &on))
        return;
    if (!cmd->ops->fault) {
        answer_errno(cmd, -EOPNOTSUPP);
        return;
    }
    set_fault(p ? &p->faults : &adapter->faults, fault, on);
    answer_errno(cmd, cmd->ops->fault(cmd->user, adapter, fault, on));
}

static void do_notify(struct command *cmd)
{
    uint32_t count, rate;

    if (!word_is_number(cmd, cmd->words[3], &count) || !word_is_number(cmd, cmd->words[4], &rate))
        return;
    uint32_t first = cmd->c->sequence + 1;
    int r = sim_characteristic_burst(cmd->c, count, rate, cmd->now_us);
    switch (-r) {
    case ENOTCONN: answer_error(cmd, "nobody is subscribed"); return;
    case EBUSY: answer_error(cmd, "a burst is running"); return;
    case ERANGE: answer_error(cmd, "the rate is from 1 to 10000 a second"); return;
    }
    answer_ok(cmd);
    strbuf_printf(cmd->answer, " first=%lu last=%lu", (unsigned long)first,
                  (unsigned long)first + count - 1);
    tell_due(cmd);
}

static void do_value(struct command *cmd)
{
    uint8_t data[GATT_VALUE_MAX];
    size_t length = 0;

    if (strcmp(cmd->words[3], "-") != 0 &&
        num_parse_hex(cmd->words[3], data, sizeof(data), &length) < 0) {
        answer_error(cmd, "expected at most 512 bytes in hex, or -");
        return;
    }
    answer_errno(cmd, sim_characteristic_set(cmd->c, data, length));
    tell_due(cmd);
}

static void do_get(struct command *cmd)
{
    answer_ok(cmd);
    strbuf_putc(cmd->answer, ' ');
    answer_bytes(cmd, cmd->c->value, cmd->c->length);
}

static void do_writes(struct command *cmd)
{
    answer_ok(cmd);
    for (size_t i = 0; i < cmd->c->n_writes; i++) {
        const struct sim_write *w = &cmd->c->writes[i];

        strbuf_puts(cmd->answer, w->command ? " command:" : " request:");
        answer_bytes(cmd, w->value.data, w->value.length);
    }
    sim_characteristic_forget_writes(cmd->c);
}

static void do_sent(struct command *cmd)
{
    answer_ok(cmd);
    strbuf_printf(cmd->answer, " %llu", (unsigned long long)cmd->c->n_sent);
}

/* false: it cannot be, and that is said */
static bool rename_adapter(struct command *cmd, struct sim_adapter *adapter)
{
    const char *name = cmd->words[3];

    if (strcmp(cmd->words[2], "add") != 0 || adapter->present) {
        answer_error(cmd, "only an adapter that comes back can have another name");
        return false;
    }
    if (sim_world_find_adapter(cmd->world, name) || strncmp(name, "hci", 3) != 0 ||
        strlen(name) > 6 || !name[3] || name[3 + strspn(name + 3, "0123456789")]) {
        answer_error(cmd, "expected a name such as hci2 that is free");
        return false;
    }
    char *copy = strdup(name);
    if (!copy) {
        answer_errno(cmd, -ENOMEM);
        return false;
    }
    free(adapter->name);
    adapter->name = copy;
    return true;
}

static void do_adapter(struct command *cmd)
{
    static const char *const changes[] = {
        [CONTROL_ADAPTER_REMOVE] = "remove", [CONTROL_ADAPTER_PULL] = "pull",
        [CONTROL_ADAPTER_ADD] = "add",       [CONTROL_ADAPTER_OFF] = "off",
        [CONTROL_ADAPTER_ON] = "on",
    };
    struct sim_adapter *adapter = sim_world_find_adapter(cmd->world, cmd->words[1]);

    if (!adapter) {
        answer_error(cmd, "there is no such adapter");
        return;
    }
    if (cmd->n_words > 3 && !rename_adapter(cmd, adapter))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
        if (strcmp(cmd->words[2], changes[i]) == 0) {
            answer_errno(cmd, cmd->ops->adapter
                                  ? cmd->ops->adapter(cmd->user, adapter, (enum control_adapter)i)
                                  : -EOPNOTSUPP);
            return;
        }
    answer_error(cmd, "expected remove, add, off, on or pull");
}

static void do_unbond(struct command *cmd)
{
    cmd->p->bonded = false; /* this link is encrypted still */
    answer_ok(cmd);
}

static void do_quit(struct command *cmd)
{
    answer_ok(cmd);
    if (cmd->ops->quit)
        cmd->ops->quit(cmd->user);
}

enum target { TARGET_NONE, TARGET_PERIPHERAL, TARGET_CHARACTERISTIC };

static const struct {
    const char *name;
    const char *usage;
    enum target target;
    size_t min_words, max_words;
    void (*run)(struct command *cmd);
} commands[] = {
    {"list", "list", TARGET_NONE, 1, 1, do_list},
    {"state", "state P", TARGET_PERIPHERAL, 2, 2, do_state},
    {"drop", "drop P [REASON]", TARGET_PERIPHERAL, 2, 3, do_drop},
    {"vanish", "vanish P", TARGET_PERIPHERAL, 2, 2, do_vanish},
    {"appear", "appear P", TARGET_PERIPHERAL, 2, 2, do_appear},
    {"refuse", "refuse P on|off", TARGET_PERIPHERAL, 3, 3, do_refuse},
    {"slow", "slow P MS", TARGET_PERIPHERAL, 3, 3, do_slow},
    {"parameters", "parameters P INTERVAL LATENCY TIMEOUT", TARGET_PERIPHERAL, 5, 5, do_parameters},
    {"connect", "connect P", TARGET_PERIPHERAL, 2, 2, do_connect},
    {"forget", "forget P", TARGET_PERIPHERAL, 2, 2, do_forget},
    {"services", "services P [BY]", TARGET_PERIPHERAL, 2, 3, do_services},
    {"address", "address P ADDRESS", TARGET_PERIPHERAL, 3, 3, do_address},
    {"advertise", "advertise P COMPANY HEX", TARGET_PERIPHERAL, 4, 4, do_advertise},
    {"unbond", "unbond P", TARGET_PERIPHERAL, 2, 2, do_unbond},
    {"fault", "fault P|NAME FAULT on|off", TARGET_NONE, 4, 4, do_fault},
    {"notify", "notify P CHAR COUNT RATE", TARGET_CHARACTERISTIC, 5, 5, do_notify},
    {"value", "value P CHAR HEX", TARGET_CHARACTERISTIC, 4, 4, do_value},
    {"get", "get P CHAR", TARGET_CHARACTERISTIC, 3, 3, do_get},
    {"writes", "writes P CHAR", TARGET_CHARACTERISTIC, 3, 3, do_writes},
    {"sent", "sent P CHAR", TARGET_CHARACTERISTIC, 3, 3, do_sent},
    {"adapter", "adapter NAME remove|add [AS]|off|on|pull", TARGET_NONE, 3, 4, do_adapter},
    {"quit", "quit", TARGET_NONE, 1, 1, do_quit},
};

static bool find_target(struct command *cmd, enum target target)
{
    if (target == TARGET_NONE)
        return true;
    cmd->p = sim_world_find(cmd->world, cmd->words[1]);
    if (!cmd->p) {
        answer_error(cmd, "there is no such peripheral");
        return false;
    }
    if (target == TARGET_PERIPHERAL)
        return true;
    cmd->c = sim_peripheral_find(cmd->p, cmd->words[2]);
    if (!cmd->c)
        answer_error(cmd, "there is no such characteristic");
    return cmd->c != NULL;
}

static void execute(struct command *cmd)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (strcmp(cmd->words[0], commands[i].name) != 0)
            continue;
        if (cmd->n_words < commands[i].min_words || cmd->n_words > commands[i].max_words) {
            strbuf_printf(cmd->answer, "error usage: %s", commands[i].usage);
            return;
        }
        if (find_target(cmd, commands[i].target))
            commands[i].run(cmd);
        return;
    }
    answer_error(cmd, "there is no such command");
}

void control_execute(struct sim_world *world, const struct control_ops *ops, void *user,
                     uint64_t now_us, const char *line, struct strbuf *answer)
{
    struct command cmd = {
        .world = world, .ops = ops, .user = user, .now_us = now_us, .answer = answer};
    char copy[CONTROL_MAX_LINE + 1], *rest = copy, *word;

    strbuf_reset(answer);
    if (strlen(line) > CONTROL_MAX_LINE) {
        answer_error(&cmd, "the line is too long");
        return;
    }
    memcpy(copy, line, strlen(line) + 1);
    while ((word = strtok_r(rest, " \t\r", &rest))) {
        if (cmd.n_words == MAX_WORDS) {
            answer_error(&cmd, "too many words");
            return;
        }
        cmd.words[cmd.n_words++] = word;
    }
    if (cmd.n_words)
        execute(&cmd);
    else
        answer_error(&cmd, "expected a command");
}
