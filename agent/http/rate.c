/* SPDX-License-Identifier: Apache-2.0 */

/* A bucket is a point in time: the moment from which on it is full. A request moves it by one token's worth to the
 * future; when that would be further ahead than a whole bucket takes to fill, there is no token. So nothing has to be
 * counted up as time goes by. */

#include "agent/http/rate.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/list.h"
#include "agent/base/str.h"

#define MINUTE_US ((uint64_t)60000000)
#define SECOND_US ((uint64_t)1000000)

struct bucket {
        struct list link;
        char *subject;
        uint64_t full_us; /* monotonic */
};

struct rates {
        struct list buckets; /* the one used last first */
        unsigned n;
};

/* See the header. */
struct rates *rates_new(void)
{
        struct rates *r = xnew(struct rates);

        list_init(&r->buckets);
        return r;
}

static void forget(struct rates *r, struct bucket *b)
{
        list_remove(&b->link);
        r->n--;
        free(b->subject);
        free(b);
}

/* See the header. */
struct rates *rates_free(struct rates *r)
{
        if (!r)
                return NULL;
        list_for_each_safe(item, &r->buckets)
                forget(r, list_entry(item, struct bucket, link));
        free(r);
        return NULL;
}

/* A sandbox has a handful of subjects, so this is short. */
static struct bucket *find(struct rates *r, const char *subject)
{
        struct bucket *b;

        list_for_each(item, &r->buckets) {
                b = list_entry(item, struct bucket, link);
                if (str_equal(b->subject, subject)) {
                        list_remove(&b->link);
                        list_insert_before(r->buckets.next, &b->link);
                        return b;
                }
        }
        if (r->n == LIMIT_RATE_SUBJECTS)
                forget(r, list_entry(r->buckets.prev, struct bucket, link));
        b = xnew(struct bucket);
        b->subject = xstrdup(subject);
        list_insert_before(r->buckets.next, &b->link);
        r->n++;
        return b;
}

static uint64_t seconds_up(uint64_t us)
{
        return (us + SECOND_US - 1) / SECOND_US;
}

/* See the header. */
bool rates_take(struct rates *r, const char *subject, uint64_t limit, struct rate *ret)
{
        struct bucket *b = find(r, subject);
        uint64_t now = clock_now_us();
        uint64_t token_us = MINUTE_US / limit;
        uint64_t size_us = token_us * limit;
        uint64_t full = MAX(b->full_us, now);
        bool is_allowed = full + token_us <= now + size_us;

        if (is_allowed)
                full += token_us;
        else
                full = MIN(full, now + size_us); /* the limit was lowered, or the machine slept */
        b->full_us = full;
        *ret = (struct rate){
                .limit = limit,
                .remaining = (now + size_us - full) / token_us,
                .reset_s = clock_realtime_s() + (int64_t)seconds_up(full - now),
                .retry_s = is_allowed ? 0 : seconds_up(full + token_us - now - size_us),
        };
        return is_allowed;
}
