/* SPDX-License-Identifier: Apache-2.0 */

/* How many may run at once: executions, what they left running, and what others run (background jobs), all against one
 * limit.
 *
 * Who found no room is told by a timer of zero milliseconds, because room comes up in the middle of things: a process
 * that is just ending, a job that gives its own back. Until the timer fires one room is kept for the waiting, or else
 * an execution that comes between would take it, and a busy machine never started a job. */

#include <assert.h>

#include "proc/process_private.h"

static uint64_t n_taken(const struct supervisor *s)
{
        return s->n_counted[COUNT_RUNNING] + s->n_counted[COUNT_LINGERING] + s->n_rooms;
}

/* See process_private.h. */
bool supervisor_is_full(const struct supervisor *s)
{
        return n_taken(s) >= s->options.max_processes;
}

static bool is_owed(const struct supervisor *s)
{
        return uv_is_active((const uv_handle_t *)&s->room);
}

/* See process_private.h. */
bool supervisor_has_room(const struct supervisor *s)
{
        uint64_t n_kept = is_owed(s) && s->is_room_wanted ? 1 : 0;

        return n_taken(s) + n_kept < s->options.max_processes;
}

static void on_room(uv_timer_t *t)
{
        struct supervisor *s = container_of(t, struct supervisor, room);

        s->is_room_wanted = false; /* who is refused again will say so */
        if (s->on_room)
                s->on_room(s->on_room_arg);
}

/* See process_private.h. */
void supervisor_room_changed(struct supervisor *s, bool was_full)
{
        if (!s->on_room || s->is_closing || is_owed(s) || supervisor_is_full(s))
                return;
        if (was_full || s->is_room_wanted)
                (void)uv_timer_start(&s->room, on_room, 0, 0);
}

/* The handle; closing it is the supervisor's business. */
void supervisor_room_init(struct supervisor *s)
{
        (void)uv_timer_init(&s->loop->uv, &s->room);
}

/* See supervisor.h. */
bool supervisor_take_room(struct supervisor *s)
{
        if (s->is_closing)
                return false;
        if (supervisor_is_full(s)) {
                s->is_room_wanted = true;
                return false;
        }
        s->n_rooms++;
        return true;
}

/* See supervisor.h. */
void supervisor_force_room(struct supervisor *s)
{
        s->n_rooms++;
}

/* See supervisor.h. */
void supervisor_give_room(struct supervisor *s)
{
        bool was_full = supervisor_is_full(s);

        assert(s->n_rooms > 0);
        s->n_rooms--;
        supervisor_room_changed(s, was_full);
}

/* See supervisor.h. */
void supervisor_on_room(struct supervisor *s, void (*fn)(void *arg), void *arg)
{
        s->on_room = fn;
        s->on_room_arg = arg;
}
