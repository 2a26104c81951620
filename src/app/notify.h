/*
 * What the service manager is told (sd_notify(3)), without ever waiting for it: sd_notify() itself
 * blocks while the manager does not read, and sd_event_set_watchdog() does, too. What does not go
 * out now goes when there is room; of the STATUS only the newest. WATCHDOG=1 is sent by itself, by
 * the loop as it turns, twice in the time that the manager allows: a loop that hangs is noticed.
 */
#pragma once

struct notify;
struct sd_event;

/* Without a service manager *ret_notify is NULL, with which everything below does nothing. */
int notify_new(struct sd_event *event, struct notify **ret_notify);
struct notify *notify_free(struct notify *notify);
/* READY=1, STOPPING=1, RELOADING=1...; in order */
void notify_state(struct notify *notify, const char *assignments);
void notify_status(struct notify *notify, const char *sentence);
