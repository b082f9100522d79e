/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The text that Prometheus and its kin collect: version 0.0.4 of Prometheus' own format
 * (https://prometheus.io/docs/instrumenting/exposition_formats/), and OpenMetrics 1.0. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/buf.h"

struct histogram;
struct readings;

#define EXPOSITION_TEXT             "text/plain; version=0.0.4; charset=utf-8"
#define EXPOSITION_OPENMETRICS      "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define EXPOSITION_OPENMETRICS_TYPE "application/openmetrics-text"

#define EXPOSITION_MAX_LABELS 4

enum family_type { FAMILY_GAUGE, FAMILY_COUNTER, FAMILY_HISTOGRAM, FAMILY_INFO };

/* Without the point: 1234567 of FAMILY_MICRO is 1.234567. */
enum family_decimals { FAMILY_WHOLE = 0, FAMILY_MILLI = 3, FAMILY_MICRO = 6 };

struct exposition;

/* One metric family. Either one number without labels, or whatever @collect adds. */
struct family {
        const char *
                name; /* with its unit, but without "vm_agent_", "_total" and "_info"; NULL ends a table */
        const char *unit; /* that the name ends with; NULL: a number of things */
        enum family_type type;
        enum family_decimals decimals;
        unsigned first_bits, last_bits, step_bits; /* HISTOGRAM: bounds are powers of two */
        const char *help;
        const char *labels[EXPOSITION_MAX_LABELS + 1]; /* names */
        size_t offset;                                 /* of an uint64_t in struct readings */
        void (*collect)(struct exposition *e, const struct readings *r);
};

struct exposition {
        struct buf out;
        bool is_openmetrics;
        bool has_failed; /* there was no memory */
        const struct family *family;
};

/* One sample of the family that is being collected. @labels: a value for each of its names. */
void exposition_add(struct exposition *e, const char *const *labels, uint64_t value);
/* The same for a histogram, whose values are whole microseconds. */
void exposition_add_histogram(struct exposition *e, const char *const *labels,
                              const struct histogram *h);

/* The document of all families of a table; from malloc, or NULL when there is no memory. */
char *exposition_write(const struct family *families, bool is_openmetrics, const struct readings *r,
                       size_t *ret_size);
