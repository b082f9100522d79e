/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the clocks say about the time between two looks at them: whether the program, or its machine, stood still, or
 * somebody has set the wall clock, as is done on a machine that was started from a snapshot. */

#include <stdint.h>

struct jump_clocks {
        uint64_t monotonic_us;
        uint64_t boot_us; /* goes on while the machine is suspended */
        int64_t realtime_us;
        uint64_t busy_us; /* that the looking thread has run, or waited for a processor */
};

/* The names are on the wire. */
enum jump_kind {
        JUMP_NONE,
        JUMP_PAUSE,   /* frozen, stopped, or on a machine that was, whose clock went on meanwhile */
        JUMP_SUSPEND, /* the machine was suspended, and its kernel knows */
        JUMP_CLOCK_SET, /* nothing but the wall clock has jumped */
};

struct jump {
        enum jump_kind kind;
        uint64_t paused_us; /* how long we did not run: unknown, and 0, of JUMP_CLOCK_SET */
        int64_t wall_us; /* by how much the wall clock was set forward, whatever the kind; negative: back */
};

/* Looks must be less than a second apart, pauses aside. */
struct jump jump_judge(const struct jump_clocks *before, const struct jump_clocks *now);
/* "pause", "suspend", "clock_set"; NULL for JUMP_NONE. */
const char *jump_name(enum jump_kind kind);
