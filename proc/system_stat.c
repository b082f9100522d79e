/* SPDX-License-Identifier: Apache-2.0 */

/* The name in /proc/PID/stat is not escaped: it may hold spaces, parentheses, line breaks and whole copies of such
 * lines. But nothing behind it has a parenthesis, so it ends at the last one. */

#include "proc/system_stat.h"

#include <errno.h>
#include <string.h>

#include "agent/base/macros.h"
#include "agent/base/utf8.h"

/* As proc(5) numbers them. */
enum {
        FIELD_PARENT = 4,
        FIELD_SESSION = 6,
        FIELD_USER_TIME = 14,
        FIELD_SYSTEM_TIME = 15,
        FIELD_THREADS = 20,
        FIELD_START = 22,
        FIELD_MEMORY = 23,
        FIELD_RSS = 24,
        N_FIELDS,
        FIELD_CODE = 26,
        FIELD_STACK = 28,
        FIELD_ARGUMENTS = 48,
        FIELD_ARGUMENTS_END = 49,
};

struct cursor {
        const char *p;
        const char *end;
};

static bool take(struct cursor *c, char wanted)
{
        if (c->p == c->end || *c->p != wanted)
                return false;
        c->p++;
        return true;
}

/* Decimal digits, with or without a minus; what is below zero counts as zero. */
static bool take_number(struct cursor *c, uint64_t *ret)
{
        bool is_negative = take(c, '-');
        const char *start = c->p;
        uint64_t n = 0;

        for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
                if (__builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t)(*c->p - '0'), &n))
                        return false;
        *ret = is_negative ? 0 : n;
        return c->p > start;
}

static bool take_letter(struct cursor *c, char *ret)
{
        if (c->p == c->end || !((*c->p >= 'A' && *c->p <= 'Z') || (*c->p >= 'a' && *c->p <= 'z')))
                return false;
        *ret = *c->p++;
        return true;
}

static bool is_pid(uint64_t n)
{
        return n <= INT32_MAX;
}

/* Where the kernel has put the program and its arguments. It rolls dice for that, and does not tell everybody. Older
 * kernels end before. */
static uint64_t take_image(struct cursor c, const char *name, size_t name_size)
{
        uint64_t image = 0, n;

        for (size_t i = 0; i < name_size; i++)
                image = image * 31 + (unsigned char)name[i];
        for (unsigned i = N_FIELDS; i <= FIELD_ARGUMENTS_END; i++) {
                if (!take(&c, ' ') || !take_number(&c, &n))
                        return 0;
                if (n == 0 && (i == FIELD_STACK || i == FIELD_ARGUMENTS))
                        return 0;
                if (i == FIELD_CODE || i == FIELD_STACK || i >= FIELD_ARGUMENTS)
                        image = (image ^ n) * 0x9e3779b97f4a7c15;
        }
        return MAX(image, (uint64_t)1);
}

/* See the header. */
int system_stat_parse(const char *text, size_t size, struct system_stat *ret)
{
        const char *last = memrchr(text, ')', size);
        struct cursor c = { text, text + size };
        struct system_stat s = { 0 };
        uint64_t fields[N_FIELDS];
        uint64_t pid;

        if (!last || !take_number(&c, &pid) || !take(&c, ' ') || !take(&c, '(') || c.p > last)
                return -EINVAL;
        s.name = c.p;
        s.name_size = (size_t)(last - c.p);

        c.p = last + 1;
        if (!take(&c, ' ') || !take_letter(&c, &s.state))
                return -EINVAL;
        for (unsigned i = FIELD_PARENT; i < N_FIELDS; i++)
                if (!take(&c, ' ') || !take_number(&c, &fields[i]))
                        return -EINVAL;
        if (c.p < c.end && *c.p != ' ' && *c.p != '\n') /* it goes on behind the last number */
                return -EINVAL;
        if (pid == 0 || !is_pid(pid) || !is_pid(fields[FIELD_PARENT]) ||
            !is_pid(fields[FIELD_SESSION]))
                return -EINVAL;

        s.pid = (pid_t)pid;
        s.parent = (pid_t)fields[FIELD_PARENT];
        s.session = (pid_t)fields[FIELD_SESSION];
        if (__builtin_add_overflow(fields[FIELD_USER_TIME], fields[FIELD_SYSTEM_TIME],
                                   &s.cpu_ticks))
                return -EINVAL;
        s.threads = fields[FIELD_THREADS];
        s.start_ticks = fields[FIELD_START];
        s.rss_pages = fields[FIELD_RSS];
        s.has_memory = fields[FIELD_MEMORY] > 0;
        s.image = take_image(c, s.name, s.name_size);
        *ret = s;
        return 0;
}

/* See the header. */
size_t system_command_join(char *data, size_t size, bool is_cut)
{
        if (is_cut)
                size = utf8_complete_prefix(data, size);
        while (size > 0 && data[size - 1] == '\0')
                size--;
        for (size_t i = 0; i < size; i++)
                if (data[i] == '\0')
                        data[i] = ' ';
        return size;
}

/* See the header. */
const char *system_state_name(char state)
{
        static const struct {
                char letter;
                const char *name;
        } states[] = {
                { 'R', "running" }, { 'S', "sleeping" },     { 'D', "disk-sleep" },
                { 'T', "stopped" }, { 't', "tracing-stop" }, { 'Z', "zombie" },
                { 'X', "dead" },    { 'x', "dead" },         { 'I', "idle" },
                { 'P', "parked" },
        };

        for (size_t i = 0; i < ARRAY_LEN(states); i++)
                if (states[i].letter == state)
                        return states[i].name;
        return "unknown";
}
