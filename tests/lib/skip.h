/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Leaves a test that this machine cannot run. Not cmocka's skip(): its TAP says "not ok" for it, which meson
 * counts as a failure. */

#include <stdio.h>

#define SKIP_TEST(why)                            \
        do {                                      \
                printf("# skipped: %s\n", (why)); \
                return;                           \
        } while (0)
