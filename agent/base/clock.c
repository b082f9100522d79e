/* SPDX-License-Identifier: Apache-2.0 */

/* Time. Everything that measures uses the monotonic clock, without the times in which the program stood still; the
 * wall clock is for tokens and time stamps only. Both can be frozen, so that tests of deadlines and expiry neither
 * sleep nor race. */

#include "agent/base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "agent/base/pauses.h"

static struct pauses pauses;
static _Atomic bool are_pauses_watched;

static struct {
        bool active;
        uint64_t monotonic_us;
        int64_t realtime_s;
} fake;

static uint64_t read_us(clockid_t clock)
{
        struct timespec ts;

        (void)clock_gettime(clock, &ts); /* cannot fail with a valid clock and pointer */
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* See the header. */
uint64_t clock_monotonic_us(void)
{
        return fake.active ? fake.monotonic_us : read_us(CLOCK_MONOTONIC);
}

/* See the header. */
uint64_t clock_boot_us(void)
{
        return read_us(CLOCK_BOOTTIME);
}

/* See the header. */
int64_t clock_realtime_us(void)
{
        return fake.active ? fake.realtime_s * 1000000 : (int64_t)read_us(CLOCK_REALTIME);
}

/* See the header. */
uint64_t clock_now_us(void)
{
        if (fake.active)
                return fake.monotonic_us;
        if (!atomic_load_explicit(&are_pauses_watched, memory_order_relaxed))
                return clock_monotonic_us() - atomic_load(&pauses.total_us);
        return pauses_look(&pauses, clock_monotonic_us);
}

/* See the header. */
uint64_t clock_paused_us(void)
{
        (void)clock_now_us(); /* notes the one that has just ended */
        return atomic_load(&pauses.total_us);
}

/* See the header. */
void clock_deadline_set(struct clock_deadline *d, uint64_t ms)
{
        d->paused_us = clock_paused_us();
        d->due_us = clock_monotonic_us() + ms * 1000;
}

/* See the header. Without a pause the timer's own idea of the time is good enough. */
uint64_t clock_deadline_rest_ms(const struct clock_deadline *d)
{
        uint64_t paused_us = clock_paused_us() - d->paused_us;
        uint64_t now_us = clock_monotonic_us(), end_us = d->due_us + paused_us;

        return paused_us == 0 || now_us >= end_us ? 0 : (end_us - now_us + 999) / 1000;
}

/* See the header. */
void clock_watch_pauses(bool watch)
{
        if (watch)
                pauses_begin(&pauses, read_us(CLOCK_MONOTONIC));
        atomic_store(&are_pauses_watched, watch);
}

/* The same clock in milliseconds, rounded down. */
uint64_t clock_now_ms(void)
{
        return clock_now_us() / 1000;
}

static int64_t realtime_ms(void)
{
        return clock_realtime_us() / 1000;
}

/* Seconds since the epoch. */
int64_t clock_realtime_s(void)
{
        return realtime_ms() / 1000;
}

/* For tests: stops every clock at these values, or lets them run again when @realtime_s is
 * negative. */
void clock_set_fake(uint64_t monotonic_us, int64_t realtime_s)
{
        fake.active = realtime_s >= 0;
        fake.monotonic_us = monotonic_us;
        fake.realtime_s = realtime_s;
}

/* The current time as RFC 3339 in UTC with milliseconds. Returns @dst. */
char *clock_rfc3339_now(char dst[CLOCK_RFC3339_SIZE])
{
        return clock_rfc3339(dst, realtime_ms());
}

/* @t_ms (milliseconds since the epoch, not before it) as RFC 3339. Returns @dst.
 *
 * Every log line and every answer carries one, thousands in the same second: all but the milliseconds is kept. */
char *clock_rfc3339(char dst[CLOCK_RFC3339_SIZE], int64_t t_ms)
{
        static _Thread_local struct {
                time_t seconds;
                char text[CLOCK_RFC3339_SIZE];
                size_t size; /* 0: nothing yet */
        } last;
        time_t seconds = (time_t)(t_ms / 1000);
        unsigned ms = (unsigned)(t_ms % 1000);
        struct tm tm = { 0 };

        if (last.size == 0 || last.seconds != seconds) {
                /* Fails for years that do not fit an int: far from any clock. */
                (void)gmtime_r(&seconds, &tm);
                last.size = strftime(last.text, sizeof(last.text), "%Y-%m-%dT%H:%M:%S", &tm);
                last.seconds = seconds;
        }
        memcpy(dst, last.text, last.size);
        dst += last.size;
        *dst++ = '.';
        *dst++ = (char)('0' + ms / 100);
        *dst++ = (char)('0' + ms / 10 % 10);
        *dst++ = (char)('0' + ms % 10);
        *dst++ = 'Z';
        *dst++ = '\0';
        return dst - last.size - 6;
}
