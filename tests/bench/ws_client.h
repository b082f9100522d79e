/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One connection to a terminal, in the four languages that the benchmark speaks. The socket blocks; one
 * client is used by one thread. Whatever goes wrong ends the program with a message: a benchmark that
 * carries on after an error measures something else. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_protocol {
        WS_AGENT, /* text frames: {"type":"input","data":…}, {"type":"output","data":…} */
        WS_LINES, /* websocketd: each text frame is one line, without its end */
        WS_PEER,  /* the npm peer: input as the agent's, output in binary frames */
        WS_PLAIN, /* reference_pty.c: bytes, no WebSocket at all */
};

struct ws_client;

/* Gets what the program on the terminal has written. @data is valid during the call only. */
typedef void (*ws_output)(struct ws_client *c, const char *data, size_t size);

struct ws_client {
        int fd;
        enum ws_protocol protocol;
        ws_output on_output;
        char *in; /* received: bytes from start on are yet to be decoded */
        size_t start;
        size_t size;
        size_t capacity;
        bool closing; /* we have said goodbye: the program may end */
        bool closed;  /* the server has said goodbye; nothing comes any more */
};

struct ws_target {
        enum ws_protocol protocol;
        unsigned port;
        const char *token; /* NULL: none */
};

__attribute__((noreturn, format(printf, 1, 2))) void ws_fail(const char *format, ...);

/* Connects to 127.0.0.1 and gets the 101; @path is not used for WS_PLAIN. */
void ws_open(struct ws_client *c, const struct ws_target *target, const char *path,
             ws_output on_output, uint64_t deadline_ns);

/* Types @size bytes. */
void ws_type(struct ws_client *c, const char *data, size_t size);

/* Waits until something arrives, reads once, answers pings and calls on_output for each piece of output,
 * possibly none. False: nothing came until @deadline_ns, or the connection is closed. */
bool ws_receive(struct ws_client *c, uint64_t deadline_ns);

/* Ends the connection with the closing handshake, and waits for the server's part of it. */
void ws_close(struct ws_client *c, uint64_t deadline_ns);

/* Ends it as a vanished client does: with a reset, and not a word. */
void ws_cut(struct ws_client *c);
