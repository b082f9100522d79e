/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What systemd and the agent say to each other: readiness, the watchdog, and sockets that systemd opened.
 * Everything here is harmless when the agent runs without systemd. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/error.h"
#include "agent/base/macros.h"

/* The first descriptor that systemd passes. */
#define SYSTEMD_LISTEN_FDS_START 3

/* Sends "NAME=value" lines to $NOTIFY_SOCKET. 1: sent. 0: there is no such socket. Negative errno: it could
 * not be sent, which is worth a log line and nothing more. */
int systemd_notify(const char *state);

int systemd_notify_ready(void);
int systemd_notify_stopping(void);
/* To be followed by systemd_notify_ready when the reload is done. */
int systemd_notify_reloading(void);
/* One line of free text for `systemctl status`. */
int systemd_notify_status(const char *fmt, ...) PRINTF_LIKE(1, 2);
int systemd_notify_watchdog(void);

/* How long systemd waits for a sign of life, in milliseconds; 0: not at all. Notify at half of it. */
uint64_t systemd_watchdog_ms(void);

/* How many descriptors were passed to this very process, starting at SYSTEMD_LISTEN_FDS_START; they are made
 * close-on-exec and non-blocking, owned by the caller, and the variables are removed, so that a second call
 * returns 0.
 * -EINVAL: the variables make no sense. -EBADF: one of the descriptors is not open. */
int systemd_listen_fds(struct error *err);

/* Whether @fd is a stream socket that listens: what a misconfigured .socket unit may not have passed. */
bool systemd_is_listening_stream(int fd);
