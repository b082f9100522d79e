/* SPDX-License-Identifier: Apache-2.0 */

/* Two tables with their texts: that of the look before, and the one that is being made. So what nobody has any more
 * goes away by itself, and the memory is bounded by the number of processes in two looks. */

#include "proc/system_commands.h"

#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"

struct table {
        struct system_command *v; /* sorted by pid in the look before */
        size_t n;
        size_t capacity;
        struct buf texts;
};

struct system_commands {
        struct table before;
        struct table now;
        uint64_t now_us;
};

static void empty(struct table *t)
{
        free(t->v);
        buf_done(&t->texts);
        *t = (struct table){ 0 };
}

/* See the header. */
struct system_commands *system_commands_new(void)
{
        return xnew(struct system_commands);
}

/* See the header. */
struct system_commands *system_commands_free(struct system_commands *c)
{
        if (!c)
                return NULL;

        empty(&c->before);
        empty(&c->now);
        free(c);
        return NULL;
}

/* See the header. A look that failed has left something. */
void system_commands_begin(struct system_commands *c, uint64_t now_us)
{
        empty(&c->now);
        c->now_us = now_us;
}

static int compare(const void *a, const void *b)
{
        const struct system_command *x = a, *y = b;

        return (x->pid > y->pid) - (x->pid < y->pid);
}

/* See the header. */
const struct system_command *system_commands_find(const struct system_commands *c, pid_t pid)
{
        struct system_command key = { .pid = pid };
        const struct system_command *found = NULL;

        if (c->before.n > 0)
                found = bsearch(&key, c->before.v, c->before.n, sizeof(key), compare);
        return found && c->now_us < found->read_us + SYSTEM_COMMANDS_FRESH_US ? found : NULL;
}

/* See the header. */
const char *system_commands_text(const struct system_commands *c,
                                 const struct system_command *command)
{
        return command->size > 0 ? c->before.texts.data + command->offset : "";
}

/* See the header. */
void system_commands_keep(struct system_commands *c, const struct system_command *command,
                          const char *text, size_t size)
{
        struct table *t = &c->now;
        size_t offset = t->texts.size;

        if (command->image == 0 || buf_append(&t->texts, text, size) < 0)
                return;
        if (t->n == t->capacity) {
                t->capacity = MAX(2 * t->capacity, (size_t)256);
                t->v = xrealloc_array(t->v, t->capacity, sizeof(*t->v));
        }
        t->v[t->n] = *command;
        t->v[t->n].offset = offset;
        t->v[t->n].size = size;
        t->n++;
}

/* See the header. */
void system_commands_end(struct system_commands *c)
{
        empty(&c->before);
        c->before = c->now;
        c->now = (struct table){ 0 };
        if (c->before.n > 0)
                qsort(c->before.v, c->before.n, sizeof(*c->before.v), compare);
}
