/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The one way to finish something asynchronous: a set of bits, each an end that is still owed. When the last
 * one is done, on_empty runs, once; it is the only place that frees. */

struct gate {
        unsigned pending;
        void (*on_empty)(struct gate *g); /* may free what embeds the gate */
};

void gate_init(struct gate *g, void (*on_empty)(struct gate *g));
/* Adds @bits to what is owed; none of them may be owed already. */
void gate_expect(struct gate *g, unsigned bits);
/* @bit happened. It must be owed. Calls on_empty when it was the last: do not touch the object after. */
void gate_done(struct gate *g, unsigned bit);

static inline int gate_is_pending(const struct gate *g, unsigned bits)
{
        return (g->pending & bits) != 0;
}
