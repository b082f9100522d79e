/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What every fuzz target has in common. */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Runs the target on one input; a failure ends the program. Returns 0. */
__attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* assert() that no build switches off. */
#define MUST(condition)                                                                    \
        do {                                                                               \
                if (!(condition)) {                                                        \
                        (void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, \
                                      #condition);                                         \
                        abort();                                                           \
                }                                                                          \
        } while (0)
