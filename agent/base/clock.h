/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Monotonic time in which this program could run: what durations and deadlines are measured with. While the program
 * stands still (it is frozen or stopped, or its machine is paused) this clock does so too, or an execution would be
 * killed for a pause. Its zero means nothing. Any thread. Tests may stop it with clock_set_fake. */
uint64_t clock_now_ms(void);
uint64_t clock_now_us(void);
/* Monotonic time, pauses included: for rates of what others do. */
uint64_t clock_monotonic_us(void);
/* Since the machine's start, times in which it was suspended included. */
uint64_t clock_boot_us(void);
/* How much of the monotonic time was pauses, all together. */
uint64_t clock_paused_us(void);

/* The loop's timers know nothing of pauses, and fire too early by them. So who has one for a deadline sets this when it
 * is started, and asks when it fires. */
struct clock_deadline {
        uint64_t due_us;    /* monotonic, if there is no pause */
        uint64_t paused_us; /* before it was set */
};
/* @ms from now. */
void clock_deadline_set(struct clock_deadline *d, uint64_t ms);
/* A timer for @d has fired: how long it is to wait again because of pauses. 0: the time is over. */
uint64_t clock_deadline_rest_ms(const struct clock_deadline *d);
/* Pauses are found by how long nobody has looked at the clock. So they are only looked for while somebody is sure to
 * look several times a second: between these calls, which are the loop's. */
void clock_watch_pauses(bool watch);
/* Wall-clock time since the epoch. */
int64_t clock_realtime_s(void);
int64_t clock_realtime_us(void);

/* Freezes all three clocks at these values (@realtime_s also moves the wall clock); a negative
 * @realtime_s thaws them again. */
void clock_set_fake(uint64_t monotonic_us, int64_t realtime_s);

/* "2026-01-28T10:00:00.123Z" for now, or for @t_ms (milliseconds since the epoch). */
#define CLOCK_RFC3339_SIZE 32
char *clock_rfc3339_now(char dst[CLOCK_RFC3339_SIZE]);
char *clock_rfc3339(char dst[CLOCK_RFC3339_SIZE], int64_t t_ms);

/* Reads a time stamp as clients write them: RFC 3339 with a zone, or a whole number of seconds, milliseconds,
 * microseconds or nanoseconds since the epoch (which of them its size tells). -EINVAL: no such thing, or before
 * 1970. */
int clock_parse(const char *text, int64_t *ret_us);
