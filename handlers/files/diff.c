/* SPDX-License-Identifier: Apache-2.0 */

/* A hunk is a run of edits whose lines, with three around them, touch. In it the changed lines of one group of edits
 * (those that share lines) are all removed and then written anew. */

#include "handlers/files/diff.h"

#include <stdint.h>
#include <string.h>

#include "agent/base/macros.h"

#define CONTEXT 3

/* Edits that change the same lines, and these lines: [from, to) of the old text. */
struct group {
        size_t first, n; /* edits */
        size_t from, to;
};

struct diff {
        struct buf *b;
        const char *old;
        size_t size;
        const struct diff_edit *edits;
        size_t n;
        size_t line;    /* number of the line at counted, from 1 */
        size_t counted; /* in the old text */
        int64_t shift;  /* lines of the new text, minus those of the old one, so far */
        int r;
};

static size_t line_begin(const struct diff *d, size_t at)
{
        const char *newline = at > 0 ? memrchr(d->old, '\n', at) : NULL;

        return newline ? (size_t)(newline - d->old) + 1 : 0;
}

/* Behind the line break of the line that @at is in. */
static size_t line_end(const struct diff *d, size_t at)
{
        const char *newline = at < d->size ? memchr(d->old + at, '\n', d->size - at) : NULL;

        return newline ? (size_t)(newline - d->old) + 1 : d->size;
}

static size_t count_lines(const char *text, size_t size)
{
        size_t n = 0;

        for (const char *p = text, *end = text + size; p < end; n++) {
                const char *newline = memchr(p, '\n', (size_t)(end - p));

                p = newline ? newline + 1 : end;
        }
        return n;
}

static void put(struct diff *d, const void *data, size_t size)
{
        if (d->r == 0)
                d->r = buf_append(d->b, data, size);
}

/* Lines, each with @mark in front. */
static void put_lines(struct diff *d, char mark, const char *text, size_t size)
{
        for (const char *p = text, *end = text + size; p < end && d->r == 0;) {
                const char *newline = memchr(p, '\n', (size_t)(end - p));
                const char *next = newline ? newline + 1 : end;

                put(d, &mark, 1);
                put(d, p, (size_t)(next - p));
                if (!newline)
                        put(d, "\n\\ No newline at end of file\n", 29);
                p = next;
        }
}

/* The lines of @g as they are now; *ret is empty before. A line break that was removed at the end of the group brings
 * the line behind it along, which is therefore a part of the group. */
static int new_lines(struct diff *d, const struct group *g, struct buf *ret)
{
        size_t at = g->from;
        int r = 0;

        for (size_t i = g->first; i < g->first + g->n && r == 0; i++) {
                const struct diff_edit *e = &d->edits[i];

                r = buf_append(ret, d->old + at, e->at - at);
                if (r == 0)
                        r = buf_append(ret, e->text, e->text_size);
                at = e->at + e->size;
        }
        return r < 0 ? r : buf_append(ret, d->old + at, g->to - at);
}

static bool ends_line(const struct diff *d, const struct diff_edit *e, size_t to)
{
        return e->at + e->size == to && to > 0 && d->old[to - 1] == '\n' &&
               (e->text_size == 0 || e->text[e->text_size - 1] != '\n');
}

/* The group that begins with edit @first. */
static struct group find_group(const struct diff *d, size_t first)
{
        struct group g = { .first = first, .from = line_begin(d, d->edits[first].at) };

        for (;;) {
                const struct diff_edit *e = &d->edits[g.first + g.n];
                size_t last = e->size > 0 ? e->at + e->size - 1 : e->at;

                if (last >=
                    g.to) /* else its line ends there, too; lines can be long, and edits many */
                        g.to = line_end(d, last);
                if (ends_line(d, e, g.to) && (e->at > g.from || e->text_size > 0))
                        g.to = line_end(d, g.to); /* what follows is appended to this line */
                g.n++;
                if (g.first + g.n == d->n || d->edits[g.first + g.n].at >= g.to)
                        return g;
        }
}

static size_t lines_before(const struct diff *d, size_t at, size_t not_before)
{
        for (int i = 0; i < CONTEXT && at > not_before; i++)
                at = line_begin(d, at - 1);
        return at;
}

static size_t lines_behind(const struct diff *d, size_t at)
{
        for (int i = 0; i < CONTEXT && at < d->size; i++)
                at = line_end(d, at);
        return at;
}

struct hunk {
        size_t from, to;    /* in the old text */
        size_t first, next; /* edits */
};

/* The hunk that begins with edit @first. */
static struct hunk find_hunk(const struct diff *d, size_t first, size_t not_before)
{
        struct group g = find_group(d, first);
        struct hunk h = { .first = first, .from = lines_before(d, g.from, not_before) };

        for (;;) {
                h.next = g.first + g.n;
                h.to = lines_behind(d, g.to);
                if (h.next == d->n)
                        return h;
                g = find_group(d, h.next);
                if (lines_before(d, g.from, 0) > h.to)
                        return h;
        }
}

static void put_body(struct diff *d, const struct hunk *h, size_t *ret_new_lines)
{
        size_t at = h->from;

        for (size_t i = h->first; i < h->next && d->r == 0;) {
                struct group g = find_group(d, i);
                CLEANUP(buf_done) struct buf lines = { .max = 0 };

                put_lines(d, ' ', d->old + at, g.from - at);
                put_lines(d, '-', d->old + g.from, g.to - g.from);
                if (d->r == 0)
                        d->r = new_lines(d, &g, &lines);
                put_lines(d, '+', lines.data ? lines.data : "", lines.size);
                *ret_new_lines += count_lines(d->old + at, g.from - at) +
                                  count_lines(lines.data ? lines.data : "", lines.size);
                at = g.to;
                i = g.first + g.n;
        }
        put_lines(d, ' ', d->old + at, h->to - at);
        *ret_new_lines += count_lines(d->old + at, h->to - at);
}

static void put_hunk(struct diff *d, const struct hunk *h)
{
        size_t n_old = count_lines(d->old + h->from, h->to - h->from), n_new = 0;
        CLEANUP(buf_done) struct buf body = { .max = d->b->max };
        struct buf *b = d->b;

        d->line += count_lines(d->old + d->counted, h->from - d->counted);
        d->counted = h->from;
        d->b = &body;
        put_body(d, h, &n_new);
        d->b = b;
        if (d->r == 0)
                d->r = buf_reserve(b, body.size + 100);
        if (d->r == 0)
                d->r = buf_appendf(
                        b, "@@ -%zu,%zu +%lld,%zu @@\n", n_old > 0 ? d->line : d->line - 1, n_old,
                        (long long)d->line + (long long)d->shift - (n_new > 0 ? 0 : 1), n_new);
        put(d, body.data ? body.data : "", body.size);
        d->shift += (int64_t)n_new - (int64_t)n_old;
}

static bool is_plain(const char *name)
{
        for (const char *p = name; *p; p++)
                if ((unsigned char)*p < ' ' || *p == 0x7f || *p == '"' || *p == '\\')
                        return false;
        return true;
}

/* One of the two lines at the top. A name that could be taken for more than that is quoted, as diff and git do it. */
static int put_name(struct buf *b, const char *mark, const char *name)
{
        int r;

        if (is_plain(name))
                return buf_appendf(b, "%s %s\n", mark, name);
        r = buf_appendf(b, "%s \"", mark);
        for (const char *p = name; r == 0 && *p; p++) {
                unsigned char c = (unsigned char)*p;

                if (c < ' ' || c == 0x7f)
                        r = buf_appendf(b, "\\%03o", c);
                else
                        r = buf_appendf(b, c == '"' || c == '\\' ? "\\%c" : "%c", c);
        }
        return r < 0 ? r : buf_append_str(b, "\"\n");
}

/* See the header. */
int diff_write(struct buf *b, const char *name, const char *old, size_t size,
               const struct diff_edit *edits, size_t n)
{
        struct diff d = { .b = b, .old = old, .size = size, .edits = edits, .n = n, .line = 1 };
        size_t behind = 0;

        d.r = put_name(b, "---", name);
        if (d.r == 0)
                d.r = put_name(b, "+++", name);
        for (size_t i = 0; i < n && d.r == 0;) {
                struct hunk h = find_hunk(&d, i, behind);

                put_hunk(&d, &h);
                behind = h.to;
                i = h.next;
        }
        return d.r;
}
