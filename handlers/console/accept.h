/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/* Whether the header Accept (NULL: absent) ranks text/html above application/json, as browsers do when they open a
 * page. A tie, and what cannot be understood, means no: programs want JSON. */
bool accept_prefers_html(const char *accept);
