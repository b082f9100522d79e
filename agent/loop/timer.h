/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A timer for those who do not deal with the loop's own types. As clock_now_ms it stands still while the program does:
 * it is what deadlines are made of. */

#include <stdint.h>

struct loop;
struct timer;

/* @fn(@arg) is called when the time is over, once for each start. */
struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg);
/* May be called at any time, also from @fn; nothing is called after it. Returns NULL. */
struct timer *timer_free(struct timer *t);

/* Starts, or starts again. */
void timer_start(struct timer *t, uint64_t ms);
void timer_stop(struct timer *t);
