/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Identifiers from the kernel's random numbers, never from counters or the clock: they stay unique when a
 * sandbox is cloned. */

#define ID_SIZE 40

/* Writes @prefix and 24 hexadecimal digits (96 random bits), e.g. "req_0f3c…". @prefix has at most 8
 * characters. Returns @dst. */
char *id_new(char dst[ID_SIZE], const char *prefix);
