/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Times in which this program stood still: its machine was paused and resumed, or it was frozen or stopped with
 * everything around it. A clock that leaves them out is what deadlines run on.
 *
 * Nobody is told of a pause. But a program that looks at the clock several times a second whatever happens, and then
 * once does not for seconds, has not run in between. So every look counts, and the first one behind a pause finds it:
 * the clock never shows a time that contains half of one. */

#include <stdint.h>

/* So long without a look is a pause: far above what a busy machine makes of the looks' interval. */
#define PAUSE_MIN_US ((uint64_t)2000000)

struct pauses {
        _Atomic uint64_t total_us; /* of all pauses so far */
        _Atomic uint64_t last_us;  /* the latest look, without pauses */
};

/* From now on there are looks all the time. */
void pauses_begin(struct pauses *p, uint64_t now_us);
/* A look at the clock, which shows @now_us() microseconds. Returns that without all pauses. Any thread. */
uint64_t pauses_look(struct pauses *p, uint64_t (*now_us)(void));
