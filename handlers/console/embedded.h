/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The files of the console page inside the program. There are none (embedded_none.c) when xterm.js was not there at
 * build time. */

#include <stddef.h>

struct embedded_file {
        const char *name; /* as a client asks for it */
        const char *type; /* content type */
        const char *etag; /* quoted, as headers carry it; changes with the content */
        const char *data;
        const char *end; /* behind the last byte */
};

/* The page itself: served at /, not by its name. NULL: not in this program. */
const struct embedded_file *embedded_page(void);

/* What the page loads. NULL: no such file. */
const struct embedded_file *embedded_find(const char *name);
