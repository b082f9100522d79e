/* SPDX-License-Identifier: Apache-2.0 */

/* The latest look is kept in the time without pauses. So adding a pause to the total is one step that makes the gap
 * disappear for everybody: whichever thread finds it first, the others see none any more, and try again when they had
 * begun to look before. No lock is needed. */

#include "agent/base/pauses.h"

#include <stdatomic.h>
#include <stdbool.h>

/* See the header. */
void pauses_begin(struct pauses *p, uint64_t now_us)
{
        atomic_store(&p->last_us, now_us - atomic_load(&p->total_us));
}

/* The latest look only moves forward. */
static void note(struct pauses *p, uint64_t active_us)
{
        uint64_t last = atomic_load(&p->last_us);

        while (last < active_us && !atomic_compare_exchange_weak(&p->last_us, &last, active_us))
                ;
}

/* See the header. */
uint64_t pauses_look(struct pauses *p, uint64_t (*now_us)(void))
{
        for (;;) {
                uint64_t total = atomic_load(&p->total_us);
                uint64_t last = atomic_load(&p->last_us);
                uint64_t active = now_us() - total;
                bool is_gap = active > last && active - last >= PAUSE_MIN_US;

                if (is_gap)
                        (void)atomic_compare_exchange_strong(&p->total_us, &total,
                                                             total + (active - last));
                else if (atomic_load(&p->total_us) == total) {
                        note(p, active);
                        return active;
                }
        }
}
