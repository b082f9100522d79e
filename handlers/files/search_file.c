/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/files/search_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/limits.h"
#include "agent/base/utf8.h"
#include "agent/json/write.h"
#include "handlers/files/common.h"
#include "handlers/files/pattern.h"

#define READ_STEP    (256 * KIB)
#define BINARY_CHECK (32 * KIB) /* a NUL in these bytes, and it is no text */

/* Where lines are counted up to; matches come in order. */
struct position {
        size_t at;
        uint64_t line;
};

static bool is_binary(const struct buf *b)
{
        return memchr(b->data, '\0', MIN(b->size, BINARY_CHECK)) != NULL;
}

/* -ENODATA: it is binary. -EFBIG: it is too large. */
static int read_all(struct search *s, int fd)
{
        struct buf *b = &s->content;
        bool is_checked = false;
        ssize_t n;
        int r;

        b->size = 0;
        for (;;) {
                r = buf_reserve(b, READ_STEP);
                if (r < 0)
                        return r;
                n = read(fd, b->data + b->size, READ_STEP);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return 0;
                b->size += (size_t)n;
                if (!is_checked && is_binary(b))
                        return -ENODATA;
                is_checked = true;
                if (atomic_load(s->cancel))
                        return -ECANCELED;
        }
}

/* What is shown of a line. */
struct part {
        size_t begin, end;
        bool is_cut;
};

static int write_part(struct buf *b, const char *line, const struct part *p)
{
        int r = buf_append_str(b, "\"");

        if (r == 0)
                r = json_write_escaped(b, line + p->begin, p->end - p->begin);
        return r < 0 ? r : buf_append_str(b, "\"");
}

/* The beginning of a line or, when it is long and bytes @begin to @end of it are not in that, what is around these. */
static struct part choose_part(const char *line, size_t size, size_t begin, size_t end)
{
        const size_t ahead = LIMIT_SEARCH_LINE / 4; /* is shown of what is before a match */
        struct part p = { .end = size };

        if (size > 0 && line[size - 1] == '\r')
                p.end--;
        if (p.end <= LIMIT_SEARCH_LINE)
                return p;
        p.is_cut = true;
        if (end > LIMIT_SEARCH_LINE)
                p.begin = MIN(begin > ahead ? begin - ahead : 0, p.end - LIMIT_SEARCH_LINE);
        while (p.begin > 0 && p.begin < begin && ((unsigned char)line[p.begin] & 0xC0) == 0x80)
                p.begin++;
        if (p.end - p.begin > LIMIT_SEARCH_LINE)
                p.end = p.begin + utf8_complete_prefix(line + p.begin, LIMIT_SEARCH_LINE);
        return p;
}

static int write_line(struct buf *b, const char *line, size_t size)
{
        struct part p = choose_part(line, size, 0, 0);

        return write_part(b, line, &p);
}

/* The line of a match, and what is missing of it. */
static int write_text(struct buf *b, const char *text, const struct pattern_match *m)
{
        const char *line = text + m->line;
        struct part p = choose_part(line, m->line_size, m->begin - m->line, m->end - m->line);
        int r = write_part(b, line, &p);

        if (r < 0 || !p.is_cut)
                return r;
        return buf_appendf(b, ",\"text_truncated\":true,\"text_column\":%zu", p.begin + 1);
}

static int write_before(struct search *s, size_t at)
{
        const char *text = s->content.data;
        size_t from = at;
        int r = buf_append_str(&s->matches, ",\"before\":[");

        for (uint64_t i = 0; i < s->before && from > 0; i++) {
                const char *newline = from > 1 ? memrchr(text, '\n', from - 1) : NULL;

                from = newline ? (size_t)(newline - text) + 1 : 0;
        }
        for (size_t next; r == 0 && from < at; from = next) {
                next = (size_t)((const char *)memchr(text + from, '\n', at - from) - text) + 1;
                r = write_line(&s->matches, text + from, next - from - 1);
                if (r == 0 && next < at)
                        r = buf_append_str(&s->matches, ",");
        }
        return r < 0 ? r : buf_append_str(&s->matches, "]");
}

static int write_after(struct search *s, size_t at)
{
        const char *text = s->content.data;
        size_t size = s->content.size;
        int r = buf_append_str(&s->matches, ",\"after\":[");

        for (uint64_t i = 0; i < s->after && at < size && r == 0; i++) {
                const char *newline = memchr(text + at, '\n', size - at);
                size_t end = newline ? (size_t)(newline - text) : size;

                if (i > 0)
                        r = buf_append_str(&s->matches, ",");
                if (r == 0)
                        r = write_line(&s->matches, text + at, end - at);
                at = end + 1;
        }
        return r < 0 ? r : buf_append_str(&s->matches, "]");
}

static int write_match(struct search *s, const char *path, const struct pattern_match *m,
                       uint64_t line)
{
        struct buf *b = &s->matches;
        const char *text = s->content.data;
        int r;

        r = buf_append_str(b, s->n_matches > 0 ? ",{" : "{");
        if (r == 0)
                r = files_write_path(b, path);
        if (r == 0)
                r = buf_appendf(b, ",\"line\":%llu,\"column\":%zu,\"length\":%zu,\"text\":",
                                (unsigned long long)line, m->begin - m->line + 1,
                                m->end - m->begin);
        if (r == 0)
                r = write_text(b, text, m);
        if (r == 0 && s->before > 0)
                r = write_before(s, m->line);
        if (r == 0 && s->after > 0)
                r = write_after(s, m->line + m->line_size + 1);
        return r < 0 ? r : buf_append_str(b, "}");
}

static uint64_t count_lines(const struct search *s, struct position *p, size_t at)
{
        const char *text = s->content.data;

        for (const char *newline; p->at < at && (newline = memchr(text + p->at, '\n', at - p->at));
             p->line++)
                p->at = (size_t)(newline - text) + 1;
        return p->line;
}

static int find_all(struct search *s, const char *path)
{
        struct position position = { .line = 1 };
        struct pattern_match m;
        uint64_t n_before = s->n_matches;
        size_t from = 0;
        int r = 0;

        pattern_limit(s->pattern, s->cancel);
        while ((r = pattern_find(s->pattern, s->content.data, s->content.size, from, &m)) > 0) {
                size_t size = s->matches.size;

                if (atomic_load(s->cancel))
                        return -ECANCELED;
                s->is_truncated = s->n_matches == s->limit;
                if (s->is_truncated)
                        break;
                r = write_match(s, path, &m, count_lines(s, &position, m.line));
                if (r == -EFBIG) { /* as if it had not begun */
                        s->matches.size = size;
                        s->is_truncated = s->is_full = true;
                        break;
                }
                if (r < 0)
                        return r;
                s->n_matches++;
                from = m.line + m.line_size + 1;
        }
        if (r == -ECANCELED)
                return r;
        if (r == -E2BIG)
                s->n_expensive++;
        if (s->n_matches > n_before)
                s->n_matched_files++;
        return 0;
}

/* See the header. */
int search_file(struct search *s, int fd, const char *path)
{
        struct stat st;
        int r;

        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return 0;
        if (st.st_size > (off_t)LIMIT_SEARCH_FILE) {
                s->n_large++;
                return 0;
        }
        r = read_all(s, fd);
        switch (r) {
        case 0:
                s->n_files++;
                return s->content.size > 0 ? find_all(s, path) : 0;
        case -ENODATA:
                s->n_binary++;
                return 0;
        case -EFBIG:
                s->n_large++;
                return 0;
        case -ENOMEM:
        case -ECANCELED:
                return r;
        default:
                s->n_unreadable++;
                return 0;
        }
}
