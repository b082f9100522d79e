/* SPDX-License-Identifier: Apache-2.0 */

/* A program without the console. */

#include "handlers/console/embedded.h"

/* See the header. */
const struct embedded_file *embedded_page(void)
{
        return NULL;
}

/* See the header. */
const struct embedded_file *embedded_find(const char *name)
{
        (void)name;
        return NULL;
}
