/* SPDX-License-Identifier: Apache-2.0 */

/* The close gate. What an object still waits for (closed handles, an exit, two ends of file) comes
 * in any order; a bit for each, and one callback when the last is gone, replace all the "am I the
 * last one?" checks that are so easily wrong. */

#include "agent/loop/gate.h"

#include <assert.h>

/* Nothing is owed yet. */
void gate_init(struct gate *g, void (*on_empty)(struct gate *g))
{
        g->pending = 0;
        g->on_empty = on_empty;
}

/* From now on @bits must be done before on_empty runs. */
void gate_expect(struct gate *g, unsigned bits)
{
        assert(bits != 0);
        assert((g->pending & bits) == 0);

        g->pending |= bits;
}

/* Takes @bit off. The object may be gone afterwards. */
void gate_done(struct gate *g, unsigned bit)
{
        assert(bit != 0 && (bit & (bit - 1)) == 0);
        assert((g->pending & bit) != 0);

        g->pending &= ~bit;
        if (g->pending == 0)
                g->on_empty(g);
}
