/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Monotonic time. Tests may stop it with clock_set_fake. */
uint64_t clock_now_ms(void);
uint64_t clock_now_us(void);
/* Wall-clock seconds since the epoch. */
int64_t clock_realtime_s(void);

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
