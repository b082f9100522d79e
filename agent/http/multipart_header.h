/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Header values with parameters (type/subtype; name="value"), and the headers of a part of a form. */

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/error.h"

/* Whether @value is @token (in any case), with or without parameters. */
bool header_value_is(const char *value, const char *token);
/* The value of parameter @name in a new string, unquoted; NULL: there is none, or it is malformed. */
char *header_parameter(const char *value, const char *name);

struct part_header {
        char *name;
        char *filename; /* NULL: it is a field */
        char *type;     /* NULL: none */
};

/* From a part's header lines, @size bytes with a NUL behind them. -EBADMSG; *ret must be done with in any case. */
int part_header_parse(const char *text, size_t size, struct part_header *ret, struct error *err);
void part_header_done(struct part_header *h);
