/* One LE connection; see radio_link.h. */
#include "radio_link.h"

#include "util/bytes.h"
#include "util/time.h"

#include <stdlib.h>
#include <string.h>

#define CID_ATT        0x0004
#define CID_SIGNALLING 0x0005
#define CID_SMP        0x0006

#define L2CAP_HEADER  4
#define L2CAP_SDU_MAX ATT_MTU_MAX
#define FRAME_MAX     (L2CAP_HEADER + L2CAP_SDU_MAX)
#define NOT_HEARD_FOR 6 /* connection events until 0x3e (Vol 6 Part B 4.5.2) */

/* signalling codes (Vol 3 Part A 4) */
#define SIGNAL_REJECT         0x01
#define SIGNAL_DISCONNECT_RSP 0x07
#define SIGNAL_PARAMETERS_REQ 0x12
#define SIGNAL_PARAMETERS_RSP 0x13
#define SIGNAL_CREDIT_REQ     0x14
#define SIGNAL_CREDIT_RSP     0x15

#define SMP_PAIRING_FAILED        0x05
#define SMP_PAIRING_NOT_SUPPORTED 0x05

enum link_state {
    LINK_STATE_UP,     /* until one end wants otherwise */
    LINK_STATE_SILENT, /* the peripheral does not answer; ends at ends_us */
    LINK_STATE_ENDING, /* goodbye is said at the next connection event, ends_us */
};

struct packet { /* of the host */
    bool start;
    uint8_t length;
    uint8_t data[LINK_FRAGMENT];
};

struct frame { /* for the host */
    uint64_t not_before_us;
    uint16_t length;
    uint8_t data[FRAME_MAX];
};

struct link {
    struct sim_peripheral *peripheral; /* borrowed */
    struct att_server *att;            /* owned */
    const struct link_ops *ops;        /* borrowed */
    void *user;
    struct link_parameters parameters;
    enum link_state state;
    uint8_t reason;
    uint64_t ends_us;
    uint64_t anchor_us; /* of the grid of connection events */
    uint64_t event_us;  /* the last one that ran */
    uint64_t now_us;    /* while one runs: for what is sent then */
    struct packet in[LINK_HOST_MAX];
    size_t n_in;
    uint64_t in_since_us;
    struct frame **out; /* owned; LINK_QUEUE_MAX of them; by not_before_us */
    size_t n_out;
    size_t sent; /* bytes of the first frame that have travelled already */
    uint8_t signal_id;
    /* the frame that the host is sending */
    uint8_t frame[FRAME_MAX];
    size_t frame_length, frame_expected; /* expected 0: no frame begun */
};

static uint64_t interval_us(const struct link *link)
{
    return (uint64_t)link->parameters.interval * 1250;
}

/* the first connection event after a time */
static uint64_t next_event_us(const struct link *link, uint64_t after_us)
{
    if (after_us < link->anchor_us)
        return link->anchor_us;
    uint64_t n = (after_us - link->anchor_us) / interval_us(link) + 1;
    return link->anchor_us + n * interval_us(link);
}

/* ---- towards the host ---- */

static void send_frame(struct link *link, uint16_t cid, uint64_t not_before_us, const uint8_t *sdu,
                       size_t length)
{
    if (link->n_out == LINK_QUEUE_MAX || length > L2CAP_SDU_MAX)
        return;
    struct frame *frame = malloc(sizeof(*frame));
    if (!frame)
        return; /* lost on the air */
    frame->not_before_us = not_before_us;
    put_le(frame->data, length, 2);
    put_le(frame->data + 2, cid, 2);
    memcpy(frame->data + L2CAP_HEADER, sdu, length);
    frame->length = (uint16_t)(L2CAP_HEADER + length);

    /* slow answers wait while notifications go on; a frame under way stays first */
    size_t at = link->n_out;
    while (at > (link->sent ? 1 : 0) && link->out[at - 1]->not_before_us > not_before_us)
        at--;
    memmove(link->out + at + 1, link->out + at, (link->n_out - at) * sizeof(*link->out));
    link->out[at] = frame;
    link->n_out++;
}

static void on_att_send(void *user, const uint8_t *pdu, size_t length, bool answer)
{
    struct link *link = user;
    uint64_t at_us = link->now_us + (answer ? link->peripheral->slow_us : 0);
    send_frame(link, CID_ATT, at_us, pdu, length);
}

static void flush_frames(struct link *link, uint64_t now_us)
{
    for (unsigned n = 0; n < LINK_PER_EVENT && link->n_out > 0; n++) {
        struct frame *frame = link->out[0];
        if (frame->not_before_us > now_us)
            return;
        size_t part = MIN_OF((size_t)frame->length - link->sent, (size_t)LINK_FRAGMENT);
        link->ops->fragment(link->user, link->sent == 0, frame->data + link->sent, part);
        link->sent += part;
        if (link->sent < frame->length)
            continue;
        free(frame);
        link->sent = 0;
        link->n_out--;
        memmove(link->out, link->out + 1, link->n_out * sizeof(*link->out));
    }
}

/* ---- from the host ---- */

static void on_signal(struct link *link, const uint8_t *data, size_t length)
{
    struct cursor in = cursor_of(data, length);
    uint8_t code = cursor_u8(&in), id = cursor_u8(&in);
    uint16_t n = cursor_le16(&in);
    if (in.failed || n != cursor_left(&in))
        return;
    switch (code) {
    case SIGNAL_REJECT:
    case SIGNAL_DISCONNECT_RSP:
    case SIGNAL_PARAMETERS_RSP:
    case SIGNAL_CREDIT_RSP: return; /* an accepted update comes as one of the link */
    case SIGNAL_CREDIT_REQ: {
        /* no credit-based channels here: result 2, SPSM not supported */
        uint8_t refusal[14] = {SIGNAL_CREDIT_RSP, id, 10, 0, [12] = 2};
        send_frame(link, CID_SIGNALLING, link->now_us, refusal, sizeof(refusal));
        return;
    }
    default: {
        uint8_t reject[6] = {SIGNAL_REJECT, id, 2, 0, 0, 0};
        send_frame(link, CID_SIGNALLING, link->now_us, reject, sizeof(reject));
    }
    }
}

static void on_frame(struct link *link, uint16_t cid, const uint8_t *sdu, size_t length)
{
    uint8_t failed[2] = {SMP_PAIRING_FAILED, SMP_PAIRING_NOT_SUPPORTED};
    switch (cid) {
    case CID_ATT: att_server_receive(link->att, link->now_us, sdu, length); return;
    case CID_SIGNALLING: on_signal(link, sdu, length); return;
    case CID_SMP:
        if (length > 0 && sdu[0] != SMP_PAIRING_FAILED)
            send_frame(link, CID_SMP, link->now_us, failed, sizeof(failed));
        return;
    default: return; /* no such channel */
    }
}

/* puts fragments together; what does not fit together is thrown away */
static void on_packet(struct link *link, const struct packet *packet)
{
    if (packet->start) {
        struct cursor in = cursor_of(packet->data, packet->length);
        uint16_t length = cursor_le16(&in);
        link->frame_length = 0;
        link->frame_expected = 0;
        if (in.failed || length > L2CAP_SDU_MAX || packet->length < L2CAP_HEADER)
            return;
        link->frame_expected = L2CAP_HEADER + length;
    }
    if (packet->length > link->frame_expected - link->frame_length) {
        link->frame_expected = link->frame_length = 0;
        return;
    }
    memcpy(link->frame + link->frame_length, packet->data, packet->length);
    link->frame_length += packet->length;
    if (link->frame_length < link->frame_expected)
        return;
    uint16_t cid = (uint16_t)(link->frame[2] | link->frame[3] << 8);
    size_t length = link->frame_expected - L2CAP_HEADER;
    link->frame_expected = link->frame_length = 0;
    on_frame(link, cid, link->frame + L2CAP_HEADER, length);
}

/* ---- the link ---- */

int link_new(struct sim_peripheral *peripheral, struct link_parameters parameters, uint64_t now_us,
             const struct link_ops *ops, void *user, struct link **ret_link)
{
    struct link *link = calloc(1, sizeof(*link));
    if (!link)
        return -ENOMEM;
    link->peripheral = peripheral;
    link->parameters = parameters;
    link->anchor_us = link->event_us = now_us;
    link->ops = ops;
    link->user = user;
    link->out = calloc(LINK_QUEUE_MAX, sizeof(*link->out));
    if (!link->out || att_server_new(peripheral, on_att_send, link, &link->att) < 0) {
        link_free(link);
        return -ENOMEM;
    }
    *ret_link = link;
    return 0;
}

struct link *link_free(struct link *link)
{
    if (!link)
        return NULL;
    for (size_t i = 0; i < link->n_out; i++)
        free(link->out[i]);
    free(link->out);
    att_server_free(link->att);
    free(link);
    return NULL;
}

void link_receive(struct link *link, uint64_t now_us, bool start, const uint8_t *data,
                  size_t length)
{
    if (link->n_in == LINK_HOST_MAX || length > LINK_FRAGMENT)
        return; /* a host that respects the buffer's size and number does not come here */
    struct packet *packet = &link->in[link->n_in];
    if (link->n_in++ == 0)
        link->in_since_us = now_us;
    packet->start = start;
    packet->length = (uint8_t)length;
    memcpy(packet->data, data, length);
}

void link_take_due(struct link *link, uint64_t now_us)
{
    struct sim_notification notification;
    while (link->state == LINK_STATE_UP && link->n_out < LINK_QUEUE_HIGH &&
           !att_server_busy(link->att) &&
           sim_peripheral_take_due(link->peripheral, now_us, &notification)) {
        link->now_us = now_us;
        att_server_notify(link->att, &notification);
    }
}

uint64_t link_next_due(const struct link *link)
{
    if (link->state != LINK_STATE_UP || link->n_out >= LINK_QUEUE_HIGH ||
        att_server_busy(link->att))
        return TIME_NEVER;
    return sim_peripheral_next_due(link->peripheral);
}

void link_drop(struct link *link, uint64_t now_us, uint8_t reason)
{
    if (link->state != LINK_STATE_UP)
        return;
    link->reason = reason;
    if (reason == HCI_E_TIMEOUT) {
        /* heard for the last time at the connection event before */
        link->state = LINK_STATE_SILENT;
        link->ends_us = next_event_us(link, now_us) - interval_us(link) +
                        (uint64_t)link->parameters.timeout * 10000;
    } else if (reason == HCI_E_NOT_ESTABLISHED) {
        link->state = LINK_STATE_SILENT;
        link->ends_us = now_us + NOT_HEARD_FOR * interval_us(link);
    } else {
        link->state = LINK_STATE_ENDING;
        link->ends_us = next_event_us(link, now_us);
    }
}

void link_disconnect(struct link *link, uint64_t now_us)
{
    link->reason = HCI_E_LOCAL_HOST;
    if (link->state != LINK_STATE_UP)
        return; /* it ends by itself */
    link->state = LINK_STATE_ENDING;
    link->ends_us = next_event_us(link, now_us);
}

bool link_is_up(const struct link *link)
{
    return link->state == LINK_STATE_UP;
}

void link_set_parameters(struct link *link, struct link_parameters parameters, uint64_t now_us)
{
    link->anchor_us = next_event_us(link, now_us);
    link->parameters = parameters;
}

struct link_parameters link_parameters(const struct link *link)
{
    return link->parameters;
}

uint16_t link_mtu(const struct link *link)
{
    return att_server_mtu(link->att);
}

void link_request_parameters(struct link *link, uint64_t now_us, uint16_t interval_min,
                             uint16_t interval_max, uint16_t latency, uint16_t timeout)
{
    if (++link->signal_id == 0)
        link->signal_id = 1;
    uint8_t request[12] = {SIGNAL_PARAMETERS_REQ, link->signal_id, 8, 0};
    put_le(request + 4, interval_min, 2);
    put_le(request + 6, interval_max, 2);
    put_le(request + 8, latency, 2);
    put_le(request + 10, timeout, 2);
    send_frame(link, CID_SIGNALLING, now_us, request, sizeof(request));
}

uint64_t link_deadline(const struct link *link)
{
    if (link->state != LINK_STATE_UP)
        return link->ends_us;
    uint64_t work_us = TIME_NEVER;
    if (link->n_in > 0)
        work_us = link->in_since_us;
    if (link->n_out > 0)
        work_us = MIN_OF(work_us, link->out[0]->not_before_us);
    if (work_us == TIME_NEVER)
        return TIME_NEVER;
    return next_event_us(link, MAX_OF(work_us, link->event_us));
}

uint8_t link_run(struct link *link, uint64_t now_us)
{
    uint64_t due_us = link_deadline(link);
    if (due_us > now_us)
        return 0;
    if (link->state == LINK_STATE_SILENT)
        return link->reason;

    link->event_us = link->now_us = due_us;
    flush_frames(link, due_us);
    /* answered at the next event: the peripheral needs time to think */
    struct packet in[LINK_HOST_MAX];
    size_t n_in = link->n_in;
    memcpy(in, link->in, sizeof(in));
    link->n_in = 0;
    for (size_t i = 0; i < n_in; i++)
        on_packet(link, &in[i]);
    if (n_in > 0)
        link->ops->completed(link->user, (unsigned)n_in);
    return link->state == LINK_STATE_ENDING ? link->reason : 0;
}
