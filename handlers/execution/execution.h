/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An execution that a request waits for: one run, its output, and one answer. */

struct request;
struct run_spec;

/* Starts it and arranges the answer, of which "@label_name": "@label" is one member. What is pointed to lives in the
 * request's arguments, or is a constant. Returns what a handler returns. */
int execution_start(struct request *req, const struct run_spec *spec, const char *label_name,
                    const char *label);
