/*
 * What the broker keeps and gives back: subscriptions, retained messages, and the echo of what the
 * gateway publishes on topics that it listens to. In order, one after the other.
 */
#include "sim.h"

#include "core/topic.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- subscriptions ---- */

bool sim_is_subscribed(const struct sim *sim, const char *topic)
{
    for (size_t i = 0; i < sim->n_filters; i++)
        if (topic_matches(sim->filters[i], topic))
            return true;
    return false;
}

static void add(struct sim_mail **list, size_t *n, const struct sim_mail *mail)
{
    *list = reallocarray(*list, *n + 1, sizeof(**list));
    if (!*list)
        abort();
    (*list)[(*n)++] = *mail;
}

static void *copy(const void *data, size_t length)
{
    char *text = malloc(length + 1);

    if (!text)
        abort();
    if (length)
        memcpy(text, data, length);
    text[length] = '\0';
    return text;
}

static void mail_done(struct sim_mail *mail)
{
    free(mail->topic);
    free(mail->payload);
}

/* ---- on the way to the gateway ---- */

static void deliver(struct sim *sim, uint64_t connection, uint64_t b)
{
    if (connection != sim->connection)
        return;
    if (sim->frozen) {
        sim_schedule(sim, 100000, deliver, connection, 0);
        return;
    }
    struct sim_mail mail = sim->mails[0];
    memmove(&sim->mails[0], &sim->mails[1], --sim->n_mails * sizeof(mail));
    struct event event = {.type = EVENT_MESSAGE,
                          .message = {.topic = mail.topic,
                                      .payload = mail.payload,
                                      .length = mail.length,
                                      .qos = 1,
                                      .retained = mail.retained}};
    if (mail.is_suback)
        event = (struct event){
            .type = EVENT_TOPIC_SUBSCRIBED,
            .topic_subscribed = {.filter = mail.topic, .ok = mail.ok, .code = mail.ok ? 1 : 0x87}};
    sim_emit(sim, &event);
    mail_done(&mail);
}

static void send(struct sim *sim, const struct sim_mail *mail)
{
    uint64_t at = sim->now.mono_us + sim_between(sim, 500, 20000);

    at = MAX_OF(at, sim->last_mail_us); /* jobs of one time run in their order */
    sim->last_mail_us = at;
    add(&sim->mails, &sim->n_mails, mail);
    sim_schedule(sim, at - sim->now.mono_us, deliver, sim->connection, 0);
}

void sim_subscribe_topic(struct sim *sim, const char *filter)
{
    bool ok = !sim_chance(sim, 1) || strstr(filter, "request") || strstr(filter, "info") ||
              strstr(filter, "attic");
    struct sim_mail suback = {
        .topic = copy(filter, strlen(filter)), .payload = NULL, .is_suback = true, .ok = ok};

    send(sim, &suback);
    if (!ok) {
        sim->ever_deaf |= strstr(filter, "/+/status") != NULL;
        return;
    }
    if (sim->n_filters == N_FILTERS_MAX) {
        sim_fail(sim, "more than %d subscriptions", N_FILTERS_MAX);
        return;
    }
    snprintf(sim->filters[sim->n_filters++], sizeof(sim->filters[0]), "%s", filter);
    for (size_t i = 0; i < sim->n_retained; i++) {
        const struct sim_mail *kept = &sim->retained[i];
        struct sim_mail mail = *kept;
        if (!topic_matches(filter, kept->topic))
            continue;
        mail.topic = copy(kept->topic, strlen(kept->topic));
        mail.payload = copy(kept->payload, kept->length);
        mail.retained = true;
        send(sim, &mail);
    }
}

void sim_unsubscribe_topic(struct sim *sim, const char *filter)
{
    for (size_t i = sim->n_filters; i-- > 0;)
        if (strcmp(sim->filters[i], filter) == 0)
            memmove(sim->filters[i], sim->filters[--sim->n_filters], sizeof(sim->filters[0]));
}

/* ---- what is kept ---- */

void sim_retain(struct sim *sim, const char *topic, const void *payload, size_t length)
{
    for (size_t i = sim->n_retained; i-- > 0;)
        if (strcmp(sim->retained[i].topic, topic) == 0) {
            mail_done(&sim->retained[i]);
            sim->retained[i] = sim->retained[--sim->n_retained];
        }
    struct sim_mail mail = {
        .topic = copy(topic, strlen(topic)), .payload = copy(payload, length), .length = length};
    if (length)
        add(&sim->retained, &sim->n_retained, &mail);
    else
        mail_done(&mail);
}

const struct sim_mail *sim_retained(const struct sim *sim, const char *topic)
{
    for (size_t i = 0; i < sim->n_retained; i++)
        if (strcmp(sim->retained[i].topic, topic) == 0)
            return &sim->retained[i];
    return NULL;
}

void sim_forget_retained(struct sim *sim)
{
    while (sim->n_retained)
        mail_done(&sim->retained[--sim->n_retained]);
}

void sim_echo(struct sim *sim, const char *topic, const void *payload, size_t length)
{
    if (!sim_is_subscribed(sim, topic))
        return;
    struct sim_mail mail = {
        .topic = copy(topic, strlen(topic)), .payload = copy(payload, length), .length = length};
    send(sim, &mail);
}

void sim_say(struct sim *sim, const char *topic, const char *payload)
{
    sim_retain(sim, topic, payload, strlen(payload));
    sim_echo(sim, topic, payload, strlen(payload));
}

/* ---- connections ---- */

void sim_retain_connection_lost(struct sim *sim)
{
    while (sim->n_mails)
        mail_done(&sim->mails[--sim->n_mails]);
    sim->n_filters = 0;
    sim->last_mail_us = 0;
}

void sim_retain_done(struct sim *sim)
{
    sim_retain_connection_lost(sim);
    sim_forget_retained(sim);
    free(sim->mails);
    free(sim->retained);
    sim->mails = sim->retained = NULL;
}
