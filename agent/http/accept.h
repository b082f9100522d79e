/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/* Whether the header Accept (NULL: absent) ranks the media type @type above @other, such as text/html above
 * application/json, as browsers do when they open a page. A tie, and what cannot be understood, means no. */
bool accept_prefers(const char *accept, const char *type, const char *other);
