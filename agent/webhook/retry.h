/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* When to try again. */

#include <stdbool.h>
#include <stdint.h>

/* Does this HTTP status mean "perhaps later"? */
bool retry_is_worthwhile(unsigned status);

/* Milliseconds to wait after attempt number @attempts (1 is the first): at random below first × 2^(attempts-1) and
 * @max_ms, so that many that failed together do not come back together. */
uint64_t retry_backoff_ms(unsigned attempts, uint64_t first_ms, uint64_t max_ms);

/* The value of a Retry-After header, seconds or a date, as milliseconds from @now_s (Unix time), at most
 * LIMIT_WEBHOOK_RETRY_AFTER_MS; -1: it makes no sense. */
int64_t retry_after_ms(const char *value, int64_t now_s);
