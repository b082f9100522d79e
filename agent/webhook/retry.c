/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/webhook/retry.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <curl/curl.h>

#include "agent/base/limits.h"
#include "agent/base/str.h"

/* See the header. */
bool retry_is_worthwhile(unsigned status)
{
        return status == 408 || status == 425 || status == 429 || (status >= 500 && status <= 599);
}

/* From the kernel: cloned sandboxes must not all come back at the same moment either. */
static uint64_t random_below(uint64_t n)
{
        uint64_t x = 0;

        if (n == 0 || getrandom(&x, sizeof(x), GRND_NONBLOCK) != (ssize_t)sizeof(x))
                return n / 2;
        return x % n; /* not quite even, but n is tiny beside 2^64 */
}

/* See the header. */
uint64_t retry_backoff_ms(unsigned attempts, uint64_t first_ms, uint64_t max_ms)
{
        uint64_t limit = MIN(first_ms, max_ms);

        for (unsigned i = 1; i < attempts && limit > 0 && limit < max_ms; i++)
                limit = limit > max_ms / 2 ? max_ms : limit * 2;
        return random_below(limit + 1);
}

/* See the header. */
int64_t retry_after_ms(const char *value, int64_t now_s)
{
        uint64_t limit = LIMIT_WEBHOOK_RETRY_AFTER_MS;
        uint64_t seconds = 0;
        time_t date;
        int r;

        r = str_parse_u64(value, &seconds);
        if (r == -ERANGE)
                return (int64_t)limit;
        if (r < 0) {
                /* What is only digits and signs is no date, though libcurl would try. */
                if (value[strspn(value, "+-.0123456789 ")] == '\0')
                        return -1;
                date = curl_getdate(value, NULL);
                if (date == -1)
                        return -1;
                seconds = date > now_s ? (uint64_t)(date - now_s) : 0;
        }
        return (int64_t)(seconds > limit / 1000 ? limit : seconds * 1000);
}
