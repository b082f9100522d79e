/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Signals by name. */

/* "SIGINT", "INT" (in either case) or "2" → SIGINT. -EINVAL: there is no such signal. */
int signal_from_name(const char *name);
/* SIGINT → "SIGINT", a constant; NULL: it has no name. */
const char *signal_name(int signum);
