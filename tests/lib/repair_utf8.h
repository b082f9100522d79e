/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Repairs UTF-8 in one go, the slow and obvious way: by the table of well-formed sequences in the
 * Unicode standard (table 3-7), not by a state machine. Tests compare the agent's decoder to it. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "agent/base/macros.h"

/* Writes the repaired text to @dst, which has room for 3 * @size bytes; returns its size. */
static inline size_t repair_utf8(char *dst, const char *src, size_t size)
{
        static const struct {
                uint8_t first[2];
                uint8_t second[2];
                size_t length;
        } sequences[] = {
                { { 0x00, 0x7f }, { 0, 0 }, 1 },       { { 0xc2, 0xdf }, { 0x80, 0xbf }, 2 },
                { { 0xe0, 0xe0 }, { 0xa0, 0xbf }, 3 }, { { 0xe1, 0xec }, { 0x80, 0xbf }, 3 },
                { { 0xed, 0xed }, { 0x80, 0x9f }, 3 }, { { 0xee, 0xef }, { 0x80, 0xbf }, 3 },
                { { 0xf0, 0xf0 }, { 0x90, 0xbf }, 4 }, { { 0xf1, 0xf3 }, { 0x80, 0xbf }, 4 },
                { { 0xf4, 0xf4 }, { 0x80, 0x8f }, 4 },
        };
        const uint8_t *s = (const uint8_t *)src;
        size_t used = 0;

        while (size > 0) {
                size_t taken = 0; /* bytes of s that belong together */
                size_t length = 0;

                for (size_t i = 0; i < ARRAY_LEN(sequences); i++) {
                        if (s[0] < sequences[i].first[0] || s[0] > sequences[i].first[1])
                                continue;
                        length = sequences[i].length;
                        for (taken = 1; taken < length && taken < size; taken++) {
                                uint8_t low = taken == 1 ? sequences[i].second[0] : 0x80;
                                uint8_t high = taken == 1 ? sequences[i].second[1] : 0xbf;

                                if (s[taken] < low || s[taken] > high)
                                        break;
                        }
                }

                if (taken > 0 && taken == length) {
                        memcpy(dst + used, s, taken);
                        used += taken;
                } else {
                        memcpy(dst + used, "\xef\xbf\xbd", 3);
                        used += 3;
                        taken = MAX(taken, (size_t)1);
                }
                s += taken;
                size -= taken;
        }
        return used;
}
