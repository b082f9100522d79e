/* SPDX-License-Identifier: Apache-2.0 */

/* A pattern is compiled to a small machine with a set of states, and a text is read once: every character takes all
 * states on. Nothing is ever tried again, so no pattern can make it slow. */

#include "agent/files/glob.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/utf8.h"

#define NO_CHARACTER 0x110000 /* and above: a byte that is not UTF-8 */
#define NOWHERE      UINT32_MAX

enum operation {
        OP_CHARACTER, /* exactly a */
        OP_ANY,       /* but a slash */
        OP_ANYTHING,
        OP_CLASS, /* ranges [a, b) of the pattern's list */
        OP_OTHER, /* none of them, and no slash */
        OP_SPLIT, /* go on at a, and also at b */
        OP_JUMP,  /* go on at a */
        OP_MATCH,
};

struct instruction {
        enum operation operation;
        uint32_t a, b;
};

struct range {
        uint32_t first, last;
};

struct glob {
        struct instruction *code;
        uint32_t n_code;
        struct range *ranges;
        uint32_t n_ranges;
        bool has_slash;
        /* Of a match: */
        uint32_t *states[2];
        uint32_t n_states[2];
        uint32_t *pending; /* a stack */
        uint32_t *seen;    /* in which round a state was added last */
        uint32_t round;
};

struct brace {
        uint32_t split;     /* of the alternative that is being read */
        uint32_t last_jump; /* chain of jumps to the end, linked by a */
        bool is_at_start;
};

struct compiler {
        struct glob *g;
        const char *p;
        bool is_at_start; /* of a name */
        struct brace braces[LIMIT_GLOB_NESTING];
        unsigned n_braces;
};

/* The next character of a string that is not empty. */
static uint32_t next_character(const char **p)
{
        const unsigned char *s = (const unsigned char *)*p;
        struct utf8_decoder d;

        if (s[0] < 0x80) {
                (*p)++;
                return s[0];
        }
        utf8_decoder_init(&d);
        for (size_t i = 0; s[i]; i++) {
                switch (utf8_decode_byte(&d, s[i])) {
                case UTF8_MORE:
                        continue;
                case UTF8_CHAR:
                        *p += i + 1;
                        return d.codepoint;
                case UTF8_BAD:
                case UTF8_BROKEN:
                        break;
                }
                break;
        }
        (*p)++;
        return NO_CHARACTER + s[0];
}

static uint32_t emit(struct compiler *c, enum operation operation, uint32_t a, uint32_t b)
{
        c->g->code[c->g->n_code] = (struct instruction){ operation, a, b };
        return c->g->n_code++;
}

/* Any number of what @operation takes. */
static void emit_repeated(struct compiler *c, enum operation operation)
{
        uint32_t split = emit(c, OP_SPLIT, c->g->n_code + 1, c->g->n_code + 3);

        (void)emit(c, operation, 0, 0);
        (void)emit(c, OP_JUMP, split, 0);
}

static int compile_stars(struct compiler *c)
{
        size_t n = strspn(c->p, "*");
        const char *after = c->p + n;
        bool is_end = *after == '\0' || (c->n_braces > 0 && (*after == ',' || *after == '}'));

        c->p = after;
        if (n != 2 || !c->is_at_start || (*after != '/' && !is_end)) {
                emit_repeated(c, OP_ANY);
        } else if (is_end) {
                emit_repeated(c, OP_ANYTHING);
        } else {
                /* Nothing, or anything that ends with a slash. */
                uint32_t split = emit(c, OP_SPLIT, c->g->n_code + 1, 0);

                emit_repeated(c, OP_ANYTHING);
                (void)emit(c, OP_CHARACTER, '/', 0);
                c->g->code[split].b = c->g->n_code;
                c->p++;
                c->g->has_slash = true;
                return 0; /* still at the start of a name */
        }
        c->g->has_slash |= n == 2 && c->is_at_start;
        c->is_at_start = false;
        return 0;
}

/* One character of a class; its end is no character. */
static int class_character(struct compiler *c, uint32_t *ret, struct error *err)
{
        if (*c->p == '\\')
                c->p++;
        if (*c->p == '\0')
                return error_set_field(err, -EINVAL, "", "the pattern has a [ without a ]");
        *ret = next_character(&c->p);
        return 0;
}

static int compile_class(struct compiler *c, struct error *err)
{
        uint32_t begin = c->g->n_ranges;
        bool is_first = true;
        bool is_negated;
        int r;

        c->p++;
        is_negated = *c->p == '!' || *c->p == '^';
        c->p += is_negated;
        for (; is_first || *c->p != ']'; is_first = false) {
                struct range range;

                r = class_character(c, &range.first, err);
                if (r < 0)
                        return r;
                range.last = range.first;
                if (c->p[0] == '-' && c->p[1] != ']' && c->p[1] != '\0') {
                        c->p++;
                        r = class_character(c, &range.last, err);
                        if (r < 0)
                                return r;
                }
                if (range.last < range.first)
                        return error_set_field(
                                err, -EINVAL, "",
                                "the pattern has a range that ends before it begins");
                c->g->ranges[c->g->n_ranges++] = range;
        }
        c->p++;
        (void)emit(c, is_negated ? OP_OTHER : OP_CLASS, begin, c->g->n_ranges);
        c->is_at_start = false;
        return 0;
}

/* Begins one more alternative; where it ends is not known yet. */
static void begin_alternative(struct compiler *c, struct brace *b)
{
        b->split = emit(c, OP_SPLIT, c->g->n_code + 1, c->g->n_code + 1);
        c->is_at_start = b->is_at_start;
}

static int open_brace(struct compiler *c, struct error *err)
{
        struct brace *b = &c->braces[c->n_braces];

        if (c->n_braces == LIMIT_GLOB_NESTING)
                return error_set_field(err, -EINVAL, "",
                                       "the pattern has braces too deeply nested");
        c->n_braces++;
        c->p++;
        *b = (struct brace){ .last_jump = NOWHERE, .is_at_start = c->is_at_start };
        begin_alternative(c, b);
        return 0;
}

static void next_alternative(struct compiler *c)
{
        struct brace *b = &c->braces[c->n_braces - 1];

        c->p++;
        b->last_jump = emit(c, OP_JUMP, b->last_jump, 0);
        c->g->code[b->split].b = c->g->n_code;
        begin_alternative(c, b);
}

static void close_brace(struct compiler *c)
{
        struct brace *b = &c->braces[--c->n_braces];

        c->p++;
        while (b->last_jump != NOWHERE) {
                struct instruction *jump = &c->g->code[b->last_jump];

                b->last_jump = jump->a;
                jump->a = c->g->n_code;
        }
}

static int compile_character(struct compiler *c, struct error *err)
{
        uint32_t character;

        if (*c->p == '\\' && *++c->p == '\0')
                return error_set_field(err, -EINVAL, "", "the pattern ends with a backslash");
        character = next_character(&c->p);
        (void)emit(c, OP_CHARACTER, character, 0);
        c->is_at_start = character == '/';
        c->g->has_slash |= character == '/';
        return 0;
}

static int compile_next(struct compiler *c, struct error *err)
{
        switch (*c->p) {
        case '*':
                return compile_stars(c);
        case '?':
                c->p++;
                c->is_at_start = false;
                (void)emit(c, OP_ANY, 0, 0);
                return 0;
        case '[':
                return compile_class(c, err);
        case '{':
                return open_brace(c, err);
        case ',':
                if (c->n_braces == 0)
                        return compile_character(c, err);
                next_alternative(c);
                return 0;
        case '}':
                if (c->n_braces == 0)
                        return compile_character(c, err);
                close_brace(c);
                return 0;
        default:
                return compile_character(c, err);
        }
}

/* See the header. */
int glob_new(const char *pattern, struct glob **ret, struct error *err)
{
        CLEANUP(glob_free) struct glob *g = NULL;
        size_t size = strlen(pattern);
        size_t max = 3 * size + 1; /* a star takes three, everything else less for each byte */
        struct compiler c;
        int r;

        if (size > LIMIT_GLOB_PATTERN)
                return error_set_field(err, -E2BIG, "", "the pattern is longer than %d bytes",
                                       LIMIT_GLOB_PATTERN);

        g = xnew(struct glob);
        g->code = xcalloc(max, sizeof(*g->code));
        g->ranges = xcalloc(size + 1, sizeof(*g->ranges));
        c = (struct compiler){ .g = g, .p = pattern, .is_at_start = true };
        while (*c.p) {
                r = compile_next(&c, err);
                if (r < 0)
                        return r;
        }
        if (c.n_braces > 0)
                return error_set_field(err, -EINVAL, "", "the pattern has a { without a }");
        (void)emit(&c, OP_MATCH, 0, 0);
        assert(g->n_code <= max);

        for (unsigned i = 0; i < 2; i++)
                g->states[i] = xcalloc(g->n_code, sizeof(uint32_t));
        g->pending = xcalloc(g->n_code, sizeof(uint32_t));
        g->seen = xcalloc(g->n_code, sizeof(uint32_t));
        *ret = STEAL(g);
        return 0;
}

/* See the header. */
struct glob *glob_free(struct glob *g)
{
        if (!g)
                return NULL;

        free(g->code);
        free(g->ranges);
        free(g->states[0]);
        free(g->states[1]);
        free(g->pending);
        free(g->seen);
        free(g);
        return NULL;
}

static void push(struct glob *g, uint32_t *n, uint32_t state)
{
        if (g->seen[state] != g->round) {
                g->seen[state] = g->round;
                g->pending[(*n)++] = state;
        }
}

/* Adds @state, and where it leads without a character, to the set. */
static void add(struct glob *g, unsigned set, uint32_t state)
{
        uint32_t n = 0;

        push(g, &n, state);
        while (n > 0) {
                uint32_t at = g->pending[--n];
                const struct instruction *i = &g->code[at];

                if (i->operation == OP_SPLIT) {
                        push(g, &n, i->b);
                        push(g, &n, i->a);
                } else if (i->operation == OP_JUMP) {
                        push(g, &n, i->a);
                } else {
                        g->states[set][g->n_states[set]++] = at;
                }
        }
}

static bool is_in_ranges(const struct glob *g, const struct instruction *i, uint32_t character)
{
        for (uint32_t n = i->a; n < i->b; n++)
                if (character >= g->ranges[n].first && character <= g->ranges[n].last)
                        return true;
        return false;
}

static bool takes(const struct glob *g, const struct instruction *i, uint32_t character)
{
        switch (i->operation) {
        case OP_CHARACTER:
                return character == i->a;
        case OP_ANY:
                return character != '/';
        case OP_ANYTHING:
                return true;
        case OP_CLASS:
                return character != '/' && is_in_ranges(g, i, character);
        case OP_OTHER:
                return character != '/' && !is_in_ranges(g, i, character);
        case OP_SPLIT:
        case OP_JUMP:
        case OP_MATCH:
                break;
        }
        return false;
}

/* A new set of states that is empty. */
static void begin_round(struct glob *g, unsigned set)
{
        g->n_states[set] = 0;
        if (++g->round == 0) {
                memset(g->seen, 0, g->n_code * sizeof(*g->seen));
                g->round = 1;
        }
}

/* See the header. */
bool glob_match(struct glob *g, const char *text)
{
        unsigned now = 0;

        begin_round(g, now);
        add(g, now, 0);
        while (*text && g->n_states[now] > 0) {
                uint32_t character = next_character(&text);

                begin_round(g, !now);
                for (uint32_t n = 0; n < g->n_states[now]; n++) {
                        uint32_t state = g->states[now][n];

                        if (takes(g, &g->code[state], character))
                                add(g, !now, state + 1);
                }
                now = !now;
        }
        for (uint32_t n = 0; n < g->n_states[now]; n++)
                if (g->code[g->states[now][n]].operation == OP_MATCH)
                        return *text == '\0';
        return false;
}

/* See the header. */
bool glob_has_slash(const struct glob *g)
{
        return g->has_slash;
}

/* See the header. */
int glob_new_for_entries(const char *pattern, struct glob **ret, bool *ret_only_directories,
                         struct error *err)
{
        CLEANUP(mem_free) char *text = xstrdup(pattern);
        size_t size = strlen(text);
        bool ends = size > 1 && text[size - 1] == '/' && text[size - 2] != '\\';
        int r;

        if (ends)
                text[size - 1] = '\0';
        r = glob_new(text, ret, err);
        if (r == 0)
                *ret_only_directories = ends;
        return r;
}
