/* SPDX-License-Identifier: Apache-2.0 */

/* Each line is checked (agent/json/scan.h) while it comes, on the loop: so none has to be parsed at the end, however
 * large it is, and what cannot be an output takes no memory. Each has memory of its own, which grows by doubling. */

#include "proc/rich.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/json/scan.h"

#define LOG_MODULE "proc"
#include "agent/base/log.h"

#define FIRST_SIZE (4 * KIB)

struct text {
        char *data;
        size_t size;
        size_t capacity;
};

enum line_state {
        LINE_KEPT,
        LINE_INVALID, /* the rest of it is skipped */
        LINE_DROPPED, /* likewise: there was no room */
};

struct output_line {
        struct text text;
        struct json_span data;
        int kind; /* enum kind */
};

struct rich {
        struct output_budget *budget;
        size_t max_size;
        uint64_t max_count;

        struct output_line *outputs;
        size_t n_outputs;
        size_t capacity; /* of outputs */
        struct text result;
        struct json_span result_span;
        size_t size; /* of all that is kept */

        struct text line; /* the one that is coming */
        struct json_scan scan;
        enum line_state line_state;

        uint64_t total;
        uint64_t n_lines; /* that were looked at */
        uint64_t n_dropped;
        uint64_t n_invalid;
};

/* What an output can be, as far as answers have a member for it. */
enum kind {
        KIND_PNG,
        KIND_HTML,
        KIND_JSON,
        KIND_PLOTLY,
        KIND_SVG,
        KIND_MARKDOWN,
        KIND_DATAFRAME,
        KIND_OTHER
};

static const char *const type_names[] = {
        [KIND_PNG] = "image/png",
        [KIND_HTML] = "text/html",
        [KIND_JSON] = "application/json",
        [KIND_PLOTLY] = "application/vnd.plotly.v1+json",
        [KIND_SVG] = "image/svg+xml",
        [KIND_MARKDOWN] = "text/markdown",
        [KIND_DATAFRAME] = "application/vnd.dataframe+json",
};

/* --- memory --- */

static void text_done(struct rich *r, struct text *t)
{
        r->budget->used -= t->capacity;
        free(t->data);
        *t = (struct text){ .data = NULL };
}

/* Room for @size bytes in all. */
static bool text_reserve(struct rich *r, struct text *t, size_t size)
{
        struct output_budget *budget = r->budget;
        size_t capacity = t->capacity;
        char *data;

        if (size <= capacity)
                return true;
        while (capacity < size)
                capacity = capacity ? 2 * capacity : FIRST_SIZE;
        if (capacity - t->capacity > budget->max - MIN(budget->used, budget->max))
                return false;
        data = try_realloc(t->data, capacity);
        if (!data)
                return false;
        budget->used += capacity - t->capacity;
        t->data = data;
        t->capacity = capacity;
        return true;
}

/* It will not grow any more. */
static void text_shrink(struct rich *r, struct text *t)
{
        char *data = try_realloc(t->data, t->size);

        if (!data)
                return;
        r->budget->used -= t->capacity - t->size;
        t->data = data;
        t->capacity = t->size;
}

static void begin_line(struct rich *r)
{
        text_done(r, &r->line);
        json_scan_init(&r->scan);
        r->line_state = LINE_KEPT;
}

/* See the header. */
struct rich *rich_new(size_t max_size, uint64_t max_count, struct output_budget *budget)
{
        struct rich *r = xnew(struct rich);

        r->budget = budget;
        r->max_size = max_size;
        r->max_count = max_count;
        begin_line(r);
        return r;
}

/* See the header. */
struct rich *rich_free(struct rich *r)
{
        if (!r)
                return NULL;

        for (size_t i = 0; i < r->n_outputs; i++)
                text_done(r, &r->outputs[i].text);
        text_done(r, &r->result);
        text_done(r, &r->line);
        free(r->outputs);
        free(r);
        return NULL;
}

/* --- what a line is --- */

static bool span_is(const struct text *t, struct json_span s, const char *word)
{
        return s.size == strlen(word) && memcmp(t->data + s.start, word, s.size) == 0;
}

/* There are not more members than are known, and none comes twice. */
static bool has_clear_members(const struct rich *r)
{
        const struct json_scan *s = &r->scan;

        if (s->n_members > JSON_SCAN_MEMBERS)
                return false;
        for (unsigned i = 0; i < s->n_members; i++)
                for (unsigned k = 0; k < i; k++) {
                        struct json_span a = s->members[i].key, b = s->members[k].key;

                        if (a.size == b.size &&
                            memcmp(r->line.data + a.start, r->line.data + b.start, a.size) == 0)
                                return false;
                }
        return true;
}

/* NULL: there is none. */
static const struct json_span *find(const struct rich *r, const char *key)
{
        for (unsigned i = 0; i < r->scan.n_members; i++)
                if (span_is(&r->line, r->scan.members[i].key, key))
                        return &r->scan.members[i].value;
        return NULL;
}

static bool begins_with(const struct rich *r, const struct json_span *s, char c)
{
        return s && r->line.data[s->start] == c;
}

/* Between the quotes; what is written with escapes is none of ours. */
static bool string_is(const struct rich *r, const struct json_span *s, const char *text)
{
        struct json_span inside = { s->start + 1, s->size - 2 };

        return span_is(&r->line, inside, text);
}

static int find_kind(const struct rich *r, const struct json_span *type)
{
        for (int kind = 0; kind < KIND_OTHER; kind++)
                if (string_is(r, type, type_names[kind]))
                        return kind;
        return KIND_OTHER;
}

/* Whether it has the members of an output; those that may be missing must be of their kind. */
static bool is_output(const struct rich *r)
{
        const struct json_span *format = find(r, "format"), *data = find(r, "data");
        const struct json_span *metadata = find(r, "metadata"), *time = find(r, "timestamp");
        bool is_json;

        if (!begins_with(r, find(r, "type"), '"') || !begins_with(r, format, '"') || !data)
                return false;
        is_json = string_is(r, format, "json");
        if (!is_json && !string_is(r, format, "base64") && !string_is(r, format, "html") &&
            !string_is(r, format, "text"))
                return false;
        return (is_json || begins_with(r, data, '"')) &&
               (!metadata || begins_with(r, metadata, '{')) && (!time || begins_with(r, time, '"'));
}

/* A number of outputs that the driver did not send. */
static bool take_note(struct rich *r)
{
        const struct json_span *s = find(r, "dropped");
        uint64_t n = 0;

        if (!s || r->scan.n_members != 1)
                return false;
        for (size_t i = 0; i < s->size; i++) {
                char c = r->line.data[s->start + i];

                if (c < '0' || c > '9' || n > UINT32_MAX)
                        return false;
                n = 10 * n + (uint64_t)(c - '0');
        }
        r->n_dropped += n;
        return true;
}

/* --- keeping it --- */

static bool take_result(struct rich *r)
{
        const struct json_span *s = find(r, "result");

        if (!begins_with(r, s, '"') || r->scan.n_members != 1)
                return false;
        r->size += r->line.size - r->result.size;
        text_done(r, &r->result);
        text_shrink(r, &r->line);
        r->result = r->line;
        r->result_span = *s;
        r->line = (struct text){ .data = NULL };
        return true;
}

static void take_output(struct rich *r)
{
        struct output_line *o;

        if (r->n_outputs == r->max_count) {
                r->n_dropped++;
                return;
        }
        if (r->n_outputs == r->capacity) {
                r->capacity = r->capacity ? 2 * r->capacity : 4;
                r->outputs = xrealloc_array(r->outputs, r->capacity, sizeof(*r->outputs));
        }
        o = &r->outputs[r->n_outputs++];
        o->kind = find_kind(r, find(r, "type"));
        o->data = *find(r, "data");
        text_shrink(r, &r->line);
        o->text = r->line;
        r->size += o->text.size;
        r->line = (struct text){ .data = NULL };
}

/* False: it is nothing that we know. */
static bool take_line(struct rich *r)
{
        if (r->line_state != LINE_KEPT || !json_scan_is_complete(&r->scan) || !has_clear_members(r))
                return false;
        if (!is_output(r))
                return take_result(r) || take_note(r);
        take_output(r);
        return true;
}

static void finish_line(struct rich *r)
{
        bool is_empty = r->line_state == LINE_KEPT && r->line.size == 0;

        if (r->line_state == LINE_DROPPED)
                r->n_dropped++;
        else if (!is_empty && !take_line(r))
                r->n_invalid++;
        begin_line(r);
}

static void skip_line(struct rich *r, enum line_state state)
{
        r->line_state = state;
        text_done(r, &r->line);
}

/* A piece of the line. */
static void extend_line(struct rich *r, const char *data, size_t size)
{
        struct text *line = &r->line;

        if (r->line_state != LINE_KEPT || size == 0)
                return;
        if (!json_scan_feed(&r->scan, data, size)) {
                skip_line(r, LINE_INVALID);
        } else if (size > r->max_size - MIN(r->size + line->size, r->max_size) ||
                   !text_reserve(r, line, line->size + size)) {
                skip_line(r, LINE_DROPPED);
        } else {
                memcpy(line->data + line->size, data, size);
                line->size += size;
        }
}

/* Without a look at them: a program that writes nothing but the shortest of lines would have us work for milliseconds,
 * again and again. Any of them may have been an output. */
static void drop_lines(struct rich *r, const char *data, size_t size)
{
        uint64_t n = 0;

        for (size_t i = 0; i < size; i++)
                n += data[i] == '\n';
        r->n_dropped += n;
        r->line_state = data[size - 1] == '\n' ? LINE_KEPT : LINE_DROPPED;
}

/* See the header. */
void rich_append(struct rich *r, const char *data, size_t size)
{
        r->total += size;
        while (size > 0 && r->n_lines < LIMIT_RICH_LINES) {
                const char *end = memchr(data, '\n', size);
                size_t n = end ? (size_t)(end - data) : size;

                extend_line(r, data, n);
                if (end) {
                        finish_line(r);
                        r->n_lines++;
                        n++;
                }
                data += n;
                size -= n;
        }
        if (size > 0)
                drop_lines(r, data, size);
}

/* See the header. */
void rich_end(struct rich *r)
{
        bool is_cut = r->line_state == LINE_KEPT && r->line.size > 0 &&
                      !json_scan_is_complete(&r->scan);

        if (is_cut) /* the driver was killed in the middle of it */
                skip_line(r, LINE_DROPPED);
        if (r->line_state != LINE_KEPT || r->line.size > 0)
                finish_line(r);
        if (r->n_invalid > 0)
                log_debug("rich output that is none", "lines=%llu",
                          (unsigned long long)r->n_invalid);
}

/* --- what there is --- */

/* See the header. */
uint64_t rich_total(const struct rich *r)
{
        return r->total;
}

/* See the header. */
uint64_t rich_dropped(const struct rich *r)
{
        return r->n_dropped;
}

/* See the header. */
size_t rich_count(const struct rich *r)
{
        return r->n_outputs;
}

/* See the header. */
struct document_piece rich_output(const struct rich *r, size_t i)
{
        const struct text *t = &r->outputs[i].text;

        return (struct document_piece){ t->data, t->size };
}

static bool find_last(const struct rich *r, int kind, bool is_string, struct document_piece *ret)
{
        for (size_t i = r->n_outputs; i > 0; i--) {
                const struct output_line *o = &r->outputs[i - 1];
                const char *data = o->text.data + o->data.start;

                /* One that is too large is told of without its data. */
                if (o->kind != kind ||
                    (is_string && (*data != '"' || o->data.size <= strlen("\"\""))))
                        continue;
                *ret = (struct document_piece){ data, o->data.size };
                return true;
        }
        return false;
}

/* See the header. */
bool rich_single(const struct rich *r, enum rich_single which, struct document_piece *ret)
{
        switch (which) {
        case RICH_PNG:
                return find_last(r, KIND_PNG, true, ret);
        case RICH_HTML:
                return find_last(r, KIND_HTML, true, ret);
        case RICH_JSON:
                return find_last(r, KIND_JSON, false, ret) || find_last(r, KIND_PLOTLY, false, ret);
        case RICH_SVG:
                return find_last(r, KIND_SVG, true, ret);
        case RICH_MARKDOWN:
                return find_last(r, KIND_MARKDOWN, true, ret);
        case RICH_DATAFRAME:
                return find_last(r, KIND_DATAFRAME, false, ret);
        default:
                if (!r->result.data)
                        return false;
                *ret = (struct document_piece){ r->result.data + r->result_span.start,
                                                r->result_span.size };
                return true;
        }
}
