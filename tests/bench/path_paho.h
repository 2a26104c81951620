/*
 * Stands in for Paho in bench_path: takes every message, and gives its answers, and what the client
 * has subscribed to itself, when it is told to. Connects at once.
 */
#pragma once

/* Calls what Paho's threads would call; how many of them. */
unsigned path_paho_answer(void);
/* messages to topics that end so, since the start */
unsigned path_paho_count(void);
