/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/base/jump.h"

#include <stddef.h>

#include "agent/base/pauses.h"

/* Who steers a clock by a second or two at a time has not resumed anything. */
#define SET_MIN_US ((int64_t)2000000)

static int64_t magnitude(int64_t x)
{
        return x < 0 ? -x : x;
}

/* See the header. */
struct jump jump_judge(const struct jump_clocks *before, const struct jump_clocks *now)
{
        int64_t passed = (int64_t)(now->monotonic_us - before->monotonic_us);
        int64_t booted = (int64_t)(now->boot_us - before->boot_us);
        int64_t busy = (int64_t)(now->busy_us - before->busy_us);
        int64_t asleep = booted - passed;
        int64_t set = now->realtime_us - before->realtime_us - booted;
        struct jump jump = { .kind = JUMP_NONE };

        if (magnitude(set) >= SET_MIN_US)
                jump.wall_us = set;
        /* Who worked, or would have if the others had let it, did not stand still. */
        if (passed >= (int64_t)PAUSE_MIN_US && busy < passed / 2) {
                jump.kind = JUMP_PAUSE;
                jump.paused_us = (uint64_t)passed;
        }
        if (asleep >= (int64_t)PAUSE_MIN_US) {
                jump.kind = JUMP_SUSPEND;
                jump.paused_us += (uint64_t)asleep;
        }
        if (jump.kind == JUMP_NONE && jump.wall_us != 0)
                jump.kind = JUMP_CLOCK_SET;
        return jump;
}

/* See the header. */
const char *jump_name(enum jump_kind kind)
{
        static const char *const names[] = {
                [JUMP_NONE] = NULL,
                [JUMP_PAUSE] = "pause",
                [JUMP_SUSPEND] = "suspend",
                [JUMP_CLOCK_SET] = "clock_set",
        };

        return names[kind];
}
