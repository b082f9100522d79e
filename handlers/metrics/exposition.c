/* SPDX-License-Identifier: Apache-2.0 */

/* The two formats differ in little: in OpenMetrics a counter's family is called without the _total of its samples,
 * there are a type for information and lines for units, and the end is marked, so that half an answer is none.
 *
 * All numbers are integers until they are printed, with a decimal point put into them. */

#include "handlers/metrics/exposition.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/histogram.h"
#include "agent/base/macros.h"
#include "handlers/metrics/readings.h"

#define PREFIX "vm_agent_"

static void add(struct exposition *e, const char *text, size_t size)
{
        e->has_failed = e->has_failed || buf_append(&e->out, text, size) < 0;
}

static void add_str(struct exposition *e, const char *text)
{
        add(e, text, strlen(text));
}

/* In a label's value quotes are escaped, too. */
static void add_escaped(struct exposition *e, const char *text, bool has_quotes)
{
        const char *special = has_quotes ? "\\\n\"" : "\\\n";

        while (*text) {
                size_t n = strcspn(text, special);

                add(e, text, n);
                text += n;
                if (*text) {
                        const char escaped[2] = { '\\', *text == '\n' ? 'n' : *text };

                        add(e, escaped, sizeof(escaped));
                        text++;
                }
        }
}

static size_t print_number(char dst[32], uint64_t value)
{
        char digits[32];
        size_t n = sizeof(digits), size;

        do {
                digits[--n] = (char)('0' + value % 10);
                value /= 10;
        } while (value > 0);
        size = sizeof(digits) - n;
        memcpy(dst, digits + n, size);
        return size;
}

/* Zeros at the end are left out. */
static void add_number(struct exposition *e, uint64_t value, unsigned decimals)
{
        uint64_t one = 1;
        char text[40];
        size_t n;

        for (unsigned i = 0; i < decimals; i++)
                one *= 10;
        n = print_number(text, value / one);
        for (uint64_t rest = value % one, place = one / 10; rest > 0; place /= 10) {
                if (place == one / 10)
                        text[n++] = '.';
                text[n++] = (char)('0' + rest / place);
                rest %= place;
        }
        add(e, text, n);
}

static void add_name(struct exposition *e, const char *suffix)
{
        add_str(e, PREFIX);
        add_str(e, e->family->name);
        add_str(e, suffix);
}

/* @bound: that of a bucket, microseconds; 0: the last one, without end; NULL: it is no bucket. */
static void add_labels(struct exposition *e, const char *const *labels, const uint64_t *bound)
{
        const char *separator = "{";

        for (size_t i = 0; e->family->labels[i]; i++) {
                add_str(e, separator);
                add_str(e, e->family->labels[i]);
                add_str(e, "=\"");
                add_escaped(e, labels[i], true);
                add_str(e, "\"");
                separator = ",";
        }
        if (bound) {
                add_str(e, separator);
                add_str(e, "le=\"");
                if (*bound > 0)
                        add_number(e, *bound, FAMILY_MICRO);
                else
                        add_str(e, "+Inf");
                add_str(e, "\"");
        }
        add_str(e, e->family->labels[0] || bound ? "} " : " ");
}

static void add_sample(struct exposition *e, const char *suffix, const char *const *labels,
                       const uint64_t *bound, uint64_t value, enum family_decimals decimals)
{
        add_name(e, suffix);
        add_labels(e, labels, bound);
        add_number(e, value, decimals);
        add_str(e, "\n");
}

static const char *suffix_of(enum family_type type)
{
        if (type == FAMILY_COUNTER)
                return "_total";
        return type == FAMILY_INFO ? "_info" : "";
}

/* See the header. */
void exposition_add(struct exposition *e, const char *const *labels, uint64_t value)
{
        add_sample(e, suffix_of(e->family->type), labels, NULL, value, e->family->decimals);
}

/* See the header. */
void exposition_add_histogram(struct exposition *e, const char *const *labels,
                              const struct histogram *h)
{
        const struct family *f = e->family;
        uint64_t n = 0, unbounded = 0;
        unsigned from = 0;

        for (unsigned bits = f->first_bits; bits <= f->last_bits; bits += f->step_bits) {
                uint64_t bound = (uint64_t)1 << bits;

                n += histogram_between(h, from, bits);
                add_sample(e, "_bucket", labels, &bound, n, FAMILY_WHOLE);
                from = bits;
        }
        add_sample(e, "_bucket", labels, &unbounded, h->count, FAMILY_WHOLE);
        add_sample(e, "_sum", labels, NULL, h->sum, FAMILY_MICRO);
        add_sample(e, "_count", labels, NULL, h->count, FAMILY_WHOLE);
}

static const char *type_name(const struct exposition *e)
{
        switch (e->family->type) {
        case FAMILY_COUNTER:
                return "counter";
        case FAMILY_HISTOGRAM:
                return "histogram";
        case FAMILY_INFO:
                return e->is_openmetrics ? "info" : "gauge";
        case FAMILY_GAUGE:
                break;
        }
        return "gauge";
}

static void add_line(struct exposition *e, const char *keyword, const char *text)
{
        add_str(e, keyword);
        add_name(e, e->is_openmetrics ? "" : suffix_of(e->family->type));
        add_str(e, " ");
        add_escaped(e, text, e->is_openmetrics);
        add_str(e, "\n");
}

static void add_family(struct exposition *e, const struct readings *r)
{
        const struct family *f = e->family;

        add_line(e, "# HELP ", f->help);
        add_line(e, "# TYPE ", type_name(e));
        if (e->is_openmetrics && f->unit)
                add_line(e, "# UNIT ", f->unit);
        if (f->collect)
                f->collect(e, r);
        else
                exposition_add(e, NULL, readings_at(r, f->offset));
}

/* See the header. */
char *exposition_write(const struct family *families, bool is_openmetrics, const struct readings *r,
                       size_t *ret_size)
{
        struct exposition e = { .is_openmetrics = is_openmetrics };
        char *text;

        buf_init(&e.out, 0);
        for (e.family = families; e.family->name; e.family++)
                add_family(&e, r);
        if (is_openmetrics)
                add_str(&e, "# EOF\n");
        text = e.has_failed ? NULL : buf_steal(&e.out, ret_size);
        buf_done(&e.out);
        return text;
}
