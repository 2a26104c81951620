/*
 * BlueZ's and D-Bus' error names and words -> the outcomes of core/bt.h. Knows the dialects of
 * BlueZ 5.50 to 5.87: since 5.62 a failed connect says "le-connection-...", before it said what
 * strerror() says; 5.81 turned "Operation already in progress" into InProgress. Must not know
 * sd-bus.
 */
#pragma once

#include "core/event.h"

enum errors_context {
    ERRORS_ANY,
    ERRORS_CONNECT, /* Device1.Connect: "Input/output error" means that the adapter is off */
    ERRORS_PAIR,    /* Device1.Pair, RegisterAgent: what exists already is there */
};

/* `name` is the D-Bus error's, `text` its message or NULL; the result's text borrows `text`. */
struct bt_result errors_classify(enum errors_context context, const char *name, const char *text);
/* for a call that could not even be sent; `error` is a negative errno */
struct bt_result errors_from_errno(int error);
