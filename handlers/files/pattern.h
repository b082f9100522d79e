/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a search looks for: a regular expression (PCRE2), or a text. Each line is a subject of its own, as grep has it:
 * its ends are those of the text, and nothing of other lines is seen.
 * Bytes that are no UTF-8 match nothing but themselves. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/base/error.h"

struct pattern;

/* -EINVAL: malformed; the message says what, and where. */
int pattern_new(const char *text, size_t size, bool is_regex, bool ignore_case,
                struct pattern **ret, struct error *err);
struct pattern *pattern_free(struct pattern *p);

/* Before a text: pattern_find may take some seconds for all of it, and ends with -ECANCELED soon after @cancel. */
void pattern_limit(struct pattern *p, const atomic_bool *cancel);

struct pattern_match {
        size_t line, line_size; /* in the subject; without the line break */
        size_t begin, end;      /* in the subject */
};

/* Finds the first line from @from on (the beginning of a line) of the @size bytes at @subject that matches. 1 with
 * *ret; 0: there is none; -E2BIG: the expression is too expensive for this text. One thread at a time. */
int pattern_find(struct pattern *p, const char *subject, size_t size, size_t from,
                 struct pattern_match *ret);
