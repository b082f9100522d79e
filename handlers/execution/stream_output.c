/* SPDX-License-Identifier: Apache-2.0 */

/* Two rings, and a circle of runs over them: so many bytes of this one, then so many of that one. Neighbours in the
 * circle belong to different streams. When it is full (the client is slower than a program that writes to both in
 * turns), new bytes join the last run of their own stream: the order within each is exact, always.
 *
 * A stream has held bytes only while it has no run. */

#include "handlers/execution/stream_output.h"

#include <assert.h>

#include "agent/base/limits.h"
#include "agent/base/macros.h"

/* When output is paused, what waits is at most the limit and the read that went over it. At the end what is in the
 * pipes comes on top, up to three times: when the leader has gone, when nobody is waited for any longer, and when the
 * tree has gone. A pipe has 256 KiB, or what its program makes of it: 1 MiB without privileges. */
_Static_assert(LIMIT_STREAM_RING >= LIMIT_STREAM_BUFFER + 64 * KIB + 3 * (1 * MIB + 64 * KIB),
               "a stream must hold what may come");
_Static_assert(STREAM_OUTPUT_RUNS >= 3, "one of each stream, and one more at the end");

/* See the header. */
void stream_output_init(struct stream_output *o)
{
        *o = (struct stream_output){ .n_runs = 0 };
        ring_init(&o->rings[PROCESS_STDOUT], LIMIT_STREAM_RING);
        ring_init(&o->rings[PROCESS_STDERR], LIMIT_STREAM_RING);
}

/* See the header. */
void stream_output_done(struct stream_output *o)
{
        ring_done(&o->rings[PROCESS_STDOUT]);
        ring_done(&o->rings[PROCESS_STDERR]);
        stream_output_init(o);
}

/* The index of the @i-th run from the front. */
static unsigned at(const struct stream_output *o, unsigned i)
{
        return (o->first_run + i) % STREAM_OUTPUT_RUNS;
}

/* The stream's first or last run, or -1. Neighbours differ, so it is at the end or beside it. */
static int find_first(const struct stream_output *o, enum process_channel from)
{
        for (unsigned i = 0; i < MIN(o->n_runs, 2u); i++)
                if (o->runs[at(o, i)].from == from)
                        return (int)at(o, i);
        return -1;
}

static int find_last(const struct stream_output *o, enum process_channel from)
{
        for (unsigned i = 0; i < MIN(o->n_runs, 2u); i++)
                if (o->runs[at(o, o->n_runs - 1 - i)].from == from)
                        return (int)at(o, o->n_runs - 1 - i);
        return -1;
}

static void add_run(struct stream_output *o, enum process_channel from, size_t size)
{
        unsigned i = at(o, o->n_runs);

        assert(o->n_runs < STREAM_OUTPUT_RUNS);
        o->runs[i].from = from;
        o->runs[i].size = o->held[from] + size;
        o->held[from] = 0;
        o->n_runs++;
}

/* Makes the first run one that is not empty. */
static void drop_empty(struct stream_output *o)
{
        while (o->n_runs > 0 && o->runs[o->first_run].size == 0) {
                o->first_run = at(o, 1);
                o->n_runs--;
        }
}

/* The ring has forgotten its oldest @lost bytes. Runs further behind stay where they are, perhaps empty. */
static void forget(struct stream_output *o, enum process_channel from, size_t lost)
{
        for (unsigned i = 0; i < o->n_runs && lost > 0; i++) {
                unsigned k = at(o, i);
                size_t n = o->runs[k].from == from ? MIN(o->runs[k].size, lost) : 0;

                o->runs[k].size -= n;
                lost -= n;
        }
        drop_empty(o);
}

/* See the header. */
void stream_output_append(struct stream_output *o, enum process_channel from, const char *data,
                          size_t size)
{
        size_t expected = ring_size(&o->rings[from]) + size;
        int last = find_last(o, from);

        if (size == 0)
                return;
        ring_append(&o->rings[from], data, size);

        if (last >= 0 &&
            ((unsigned)last == at(o, o->n_runs - 1) || o->n_runs == STREAM_OUTPUT_RUNS))
                o->runs[last].size += size;
        else
                add_run(o, from, size);
        forget(o, from, expected - ring_size(&o->rings[from]));
}

/* See the header. */
void stream_output_end(struct stream_output *o)
{
        o->has_ended = true;
        for (int from = PROCESS_STDOUT; from <= PROCESS_STDERR; from++)
                if (o->held[from] > 0)
                        add_run(o, (enum process_channel)from, 0);
}

/* See the header. */
size_t stream_output_size(const struct stream_output *o)
{
        return ring_size(&o->rings[PROCESS_STDOUT]) + ring_size(&o->rings[PROCESS_STDERR]);
}

/* See the header. */
uint64_t stream_output_total(const struct stream_output *o, enum process_channel from)
{
        return o->rings[from].end;
}

/* See the header. */
bool stream_output_peek(const struct stream_output *o, struct stream_piece *ret)
{
        const struct ring *ring;
        size_t size;

        if (o->n_runs == 0)
                return false;
        size = o->runs[o->first_run].size;
        ret->from = o->runs[o->first_run].from;
        ring = &o->rings[ret->from];
        ret->offset = ring->start;
        ret->n_slices = ring_peek(ring, ring->start, ret->slices);
        ret->is_end = o->has_ended && find_last(o, ret->from) == (int)o->first_run;
        if (ret->slices[0].size >= size) {
                ret->slices[0].size = size;
                ret->n_slices = 1;
        } else {
                ret->slices[1].size = size - ret->slices[0].size;
        }
        return true;
}

/* Leaves the first run's bytes to the next of its stream. */
static void hold_first(struct stream_output *o)
{
        enum process_channel from = o->runs[o->first_run].from;
        size_t size = o->runs[o->first_run].size;
        int next;

        o->runs[o->first_run].size = 0;
        drop_empty(o);
        next = find_first(o, from);
        if (next >= 0)
                o->runs[next].size += size;
        else
                o->held[from] = size;
}

/* See the header. */
void stream_output_take(struct stream_output *o, size_t size)
{
        unsigned first = o->first_run;
        struct ring *ring = &o->rings[o->runs[first].from];

        assert(o->n_runs > 0 && size <= o->runs[first].size);
        if (size == 0) {
                hold_first(o);
                return;
        }
        ring_discard(ring, ring->start + size);
        o->runs[first].size -= size;
        drop_empty(o);
}
