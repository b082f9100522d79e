/* SPDX-License-Identifier: Apache-2.0 */

/* Many lines are searched at once, which is far faster than line by line. A match that crosses a line break only says
 * that something may be in the line where it begins, so that line is looked at again, alone. This is right only as
 * long as what surrounds a line cannot keep it from matching: expressions that look there, such as (?!...), or that do
 * not go back, such as a++, get each line alone from the beginning.
 *
 * Some expressions take longer than anybody can wait, and machine code that searches cannot be interrupted. So it
 * searches a little at a time, with few steps for each place; where these are not enough, the interpreter goes on,
 * which asks before each step whether the time is over. */

#include "handlers/files/pattern.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/macros.h"

#define CHUNK       (64 * KIB) /* whole lines that are searched together */
#define QUICK_STEPS (64 * MIB) /* for one place: steps times bytes that each of them may look at */
#define WINDOW_COST (4096 * MIB) /* places that are looked at in one call, times bytes */
#define WINDOW_MIN  16
#define WINDOW_MAX  (64 * KIB)

struct pattern {
        char *text; /* of what is no regular expression */
        size_t size;
        pcre2_code *code;    /* NULL: search for the text */
        pcre2_code *careful; /* the same with callouts; NULL: not needed yet */
        uint32_t options;
        int needed;   /* a byte that is in every match; -1: not known */
        bool by_line; /* other lines must not be seen */
        pcre2_match_data *data;
        pcre2_match_context *context;
        size_t window; /* places of the next call */

        const atomic_bool *cancel; /* NULL: the time does not matter */
        uint64_t end_ms;
        int stopped; /* why the interpreter was */
};

/* 0, or why the search has to end. */
static int check_time(const struct pattern *p)
{
        if (!p->cancel)
                return 0;
        if (atomic_load_explicit(p->cancel, memory_order_relaxed))
                return -ECANCELED;
        return clock_now_ms() >= p->end_ms ? -E2BIG : 0;
}

static int on_callout(pcre2_callout_block *block, void *data)
{
        struct pattern *p = data;

        (void)block;
        p->stopped = check_time(p);
        return p->stopped < 0 ? PCRE2_ERROR_CALLOUT : 0;
}

static int find_needed(const pcre2_code *code)
{
        uint32_t type = 0, unit = 0;

        if (pcre2_pattern_info(code, PCRE2_INFO_LASTCODETYPE, &type) < 0 || type == 0 ||
            pcre2_pattern_info(code, PCRE2_INFO_LASTCODEUNIT, &unit) < 0 || unit > 127)
                return -1;
        return (int)unit;
}

/* What can be in the way of a match because of another line: assertions about what is around, beginnings and ends of
 * the whole text, options that make ^ and $ such, and all that takes something and does not give it back. It is no
 * fault to find some where there are none. */
static bool sees_other_lines(const char *text, size_t size)
{
        for (size_t i = 0; i + 1 < size; i++) {
                char next = text[i + 1];

                switch (text[i]) {
                case '\\':
                        if (memchr("AGzZXR", next, 6))
                                return true;
                        i++;
                        break;
                case '(':
                        if (next == '*')
                                return true;
                        if (next != '?')
                                break;
                        for (i += 2; i < size && isalpha((unsigned char)text[i]); i++)
                                ;
                        if (i < size && text[i] != ':' && text[i] != ')')
                                return true;
                        break;
                case '*':
                case '+':
                case '?':
                case '}':
                        if (next == '+')
                                return true;
                        break;
                default:
                        break;
                }
        }
        return false;
}

static int compile(struct pattern *p, bool is_regex, bool ignore_case, struct error *err)
{
        uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C |
                           PCRE2_USE_OFFSET_LIMIT;
        unsigned char message[160] = "";
        PCRE2_SIZE at = 0;
        int code = 0;

        options |= is_regex ? PCRE2_MULTILINE : PCRE2_LITERAL;
        if (!is_regex)
                options &= ~(uint32_t)PCRE2_NEVER_BACKSLASH_C;
        if (ignore_case)
                options |= PCRE2_CASELESS;
        p->options = options;
        p->by_line = is_regex && sees_other_lines(p->text, p->size);
        p->code = pcre2_compile((PCRE2_SPTR)p->text, p->size, options, &code, &at, NULL);
        if (!p->code) {
                (void)pcre2_get_error_message(code, message, sizeof(message));
                return error_set_field(err, -EINVAL, "", "%s, at character %zu", (char *)message,
                                       (size_t)at + 1);
        }
        p->needed = find_needed(p->code);
        (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without it works, too */
        p->data = pcre2_match_data_create_from_pattern(p->code, NULL);
        p->context = pcre2_match_context_create(NULL);
        if (!p->data || !p->context)
                return error_set(err, -ENOMEM, "pattern");
        (void)pcre2_set_heap_limit(p->context, LIMIT_SEARCH_HEAP / KIB);
        (void)pcre2_set_callout(p->context, on_callout, p);
        return 0;
}

/* See the header. */
int pattern_new(const char *text, size_t size, bool is_regex, bool ignore_case,
                struct pattern **ret, struct error *err)
{
        struct pattern *p = xnew(struct pattern);
        int r = 0;

        p->text = xcalloc(1, size + 1);
        memcpy(p->text, text, size);
        p->size = size;
        if (is_regex || ignore_case)
                r = compile(p, is_regex, ignore_case, err);
        if (r < 0) {
                (void)pattern_free(p);
                return r;
        }
        *ret = p;
        return 0;
}

/* See the header. */
struct pattern *pattern_free(struct pattern *p)
{
        if (!p)
                return NULL;
        pcre2_match_context_free(p->context);
        pcre2_match_data_free(p->data);
        pcre2_code_free(p->code);
        pcre2_code_free(p->careful);
        free(p->text);
        free(p);
        return NULL;
}

/* See the header. */
void pattern_limit(struct pattern *p, const atomic_bool *cancel)
{
        p->cancel = cancel;
        p->end_ms = clock_now_ms() + LIMIT_SEARCH_FILE_MS;
        p->window = WINDOW_MIN;
}

/* Where the chunk ends that @from is in. */
static size_t chunk_end(const char *subject, size_t size, size_t from)
{
        const char *newline = NULL;

        if (size - from > CHUNK)
                newline = memchr(subject + from + CHUNK, '\n', size - from - CHUNK);
        return newline ? (size_t)(newline - subject) + 1 : size;
}

/* In one of its cases: without it there can be no match, and no place has to be looked at. */
static bool has_needed(const struct pattern *p, const char *text, size_t size)
{
        return p->needed < 0 || memchr(text, tolower(p->needed), size) ||
               memchr(text, toupper(p->needed), size) || (p->options & PCRE2_CASELESS);
}

/* By the interpreter, which can be stopped. */
static int match_carefully(struct pattern *p, const char *subject, size_t size, size_t from)
{
        PCRE2_SIZE at;
        int code, r;

        if (!p->careful)
                p->careful = pcre2_compile((PCRE2_SPTR)p->text, p->size,
                                           p->options | PCRE2_AUTO_CALLOUT, &code, &at, NULL);
        if (!p->careful)
                return -E2BIG;
        (void)pcre2_set_match_limit(p->context, LIMIT_SEARCH_STEPS);
        p->stopped = 0;
        r = pcre2_match(p->careful, (PCRE2_SPTR)subject, size, from, 0, p->data, p->context);
        if (r < 0 && r != PCRE2_ERROR_NOMATCH)
                return p->stopped < 0 ? p->stopped : -E2BIG;
        return r >= 0;
}

/* A match that begins in [@from, @last]. */
static int match_window(struct pattern *p, const char *subject, size_t size, size_t from,
                        size_t last)
{
        uint64_t steps = QUICK_STEPS / (size - from + 1);
        int r;

        (void)pcre2_set_match_limit(p->context, (uint32_t)MAX(steps, (uint64_t)16));
        (void)pcre2_set_offset_limit(p->context, last);
        r = pcre2_match(p->code, (PCRE2_SPTR)subject, size, from, 0, p->data, p->context);
        if (r >= 0)
                return 1;
        if (r == PCRE2_ERROR_NOMATCH) {
                p->window = MIN(2 * p->window, (size_t)WINDOW_MAX);
                return 0;
        }
        p->window = WINDOW_MIN;
        return match_carefully(p, subject, size, from);
}

/* The last place of the window that begins at @from; a character is not taken apart. */
static size_t window_end(struct pattern *p, const char *subject, size_t from, size_t end,
                         size_t size)
{
        size_t most = MAX(WINDOW_COST / (end - from + 1), (size_t)WINDOW_MIN), last;

        p->window = MAX(p->window, (size_t)WINDOW_MIN);
        last = from + MIN(p->window, most) - 1;
        for (unsigned i = 0; i < 3 && last + 1 < end && (subject[last + 1] & 0xc0) == 0x80; i++)
                last++;
        if (last + 1 < end)
                return last;
        return end == size ? size : end - 1; /* the next chunk begins at its end */
}

/* As pattern_find, without regard to lines. */
static int find(struct pattern *p, const char *subject, size_t size, size_t from, size_t *ret_begin,
                size_t *ret_end)
{
        const char *found;
        PCRE2_SIZE *places;
        size_t end, last;
        int r;

        if (!p->code) {
                found = memmem(subject + from, size - from, p->text, p->size);
                if (!found)
                        return 0;
                *ret_begin = (size_t)(found - subject);
                *ret_end = *ret_begin + p->size;
                return 1;
        }
        for (end = from;; from = last + 1) {
                bool is_new = from >= end;

                if (is_new)
                        end = chunk_end(subject, size, from);
                if (is_new && !has_needed(p, subject + from, end - from)) {
                        r = 0;
                        last = end < size ? end - 1 : size;
                } else {
                        last = window_end(p, subject, from, end, size);
                        r = match_window(p, subject, end, from, last);
                }
                if (r == 0 && last < size)
                        r = check_time(p);
                if (r != 0 || last >= size)
                        break;
        }
        if (r <= 0)
                return r;
        places = pcre2_get_ovector_pointer(p->data);
        *ret_begin = places[0];
        *ret_end = MAX(places[0], places[1]); /* \K can put the beginning behind the end */
        return 1;
}

static void find_line(const char *subject, size_t size, size_t at, struct pattern_match *ret)
{
        const char *before = at > 0 ? memrchr(subject, '\n', at) : NULL;
        const char *behind = memchr(subject + at, '\n', size - at);

        ret->line = before ? (size_t)(before - subject) + 1 : 0;
        ret->line_size = (behind ? (size_t)(behind - subject) : size) - ret->line;
}

/* As pattern_find, each line for itself. */
static int find_by_line(struct pattern *p, const char *subject, size_t size, size_t from,
                        struct pattern_match *ret)
{
        size_t begin, end, line_size;
        unsigned n = 0;

        for (; from < size; from += line_size + 1) {
                const char *line = subject + from;
                const char *newline = memchr(line, '\n', size - from);
                int r = 0;

                line_size = newline ? (size_t)(newline - line) : size - from;
                if (has_needed(p, line, line_size))
                        r = find(p, line, line_size, 0, &begin, &end);
                if (r == 0 && ++n % 16 == 0)
                        r = check_time(p);
                if (r < 0)
                        return r;
                if (r > 0) {
                        *ret = (struct pattern_match){ from, line_size, from + begin, from + end };
                        return 1;
                }
        }
        return 0;
}

/* See the header. */
int pattern_find(struct pattern *p, const char *subject, size_t size, size_t from,
                 struct pattern_match *ret)
{
        size_t begin, end;
        int r;

        if (p->by_line)
                return find_by_line(p, subject, size, from, ret);
        while (from < size) {
                r = find(p, subject, size, from, &begin, &end);
                if (r <= 0)
                        return r;
                if (begin == size && begin > 0 && subject[begin - 1] == '\n')
                        return 0; /* behind the last line, where there is nothing */
                find_line(subject, size, begin, ret);
                if (end > ret->line + ret->line_size) {
                        r = find(p, subject + ret->line, ret->line_size, 0, &begin, &end);
                        if (r < 0)
                                return r;
                        begin += ret->line;
                        end += ret->line;
                }
                if (r > 0) {
                        ret->begin = begin;
                        ret->end = end;
                        return 1;
                }
                from = ret->line + ret->line_size + 1;
        }
        return 0;
}
