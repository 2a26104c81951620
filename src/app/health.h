/*
 * Answers whoever asks whether the gateway is well: `gatt2mqtt health`, a container's health check.
 * The answer comes from the loop itself, so one that hangs gives none. On a socket in the directory
 * that the service manager gave ($RUNTIME_DIRECTORY, see systemd.exec(5)); without one nobody can
 * ask. Knows nothing of what the sentence says.
 */
#pragma once

#include "util/err.h"

struct health;
struct sd_event;

/* the socket's name in that directory */
#define HEALTH_SOCKET "health"
/* an answer is never longer, its newline included */
#define HEALTH_ANSWER_MAX 1024

/*
 * Never a reason not to start: what is wrong with the directory is logged, and *ret_health is NULL,
 * with which everything below does nothing.
 */
void health_new(struct sd_event *event, struct health **ret_health);
/* removes the socket */
struct health *health_free(struct health *health);
/* what is answered from now on; copied, and cut where it is too long */
void health_set(struct health *health, const char *sentence);
/* "DIRECTORY/health" for the first directory of a list as in $RUNTIME_DIRECTORY, for an address of
 * AF_UNIX; -ENAMETOOLONG, or -EINVAL for one that is not absolute */
struct sockaddr_un;
MUST_CHECK
int health_address(const char *directories, struct sockaddr_un *ret_address);
