/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How the end of an execution is told, in answers and in messages alike. */

#include <stdint.h>

#include <jansson.h>

struct process;
struct process_result;

/* success, exit_code, reason, times, identity and usage of the process, which has ended; "@label_name": "@label"
 * beside them. A new reference. */
json_t *result_describe(const struct process *p, const char *label_name, const char *label);

/* What is added to the standard error when we ended the program, because it could not say it itself: a line, or NULL.
 * It starts with a line break, which is only wanted when the program left its last line open. To be freed. */
char *result_note(const struct process_result *result, uint64_t timeout_ms);
