/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/jobs/offsets.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "agent/base/macros.h"
#include "agent/base/str.h"

const char *const channel_names[N_CHANNELS] = { "stdout", "stderr" };

/* Reads a number and moves @text behind it. */
static int take_number(const char **text, uint64_t *ret)
{
        const char *s = *text;
        uint64_t n = 0;

        if (*s < '0' || *s > '9')
                return -EINVAL;
        for (; *s >= '0' && *s <= '9'; s++) {
                uint64_t digit = (uint64_t)(*s - '0');

                if (n > (OFFSET_MAX - digit) / 10)
                        return -EINVAL;
                n = n * 10 + digit;
        }
        *text = s;
        *ret = n;
        return 0;
}

static int take_pair(const char **text, uint64_t ret[N_CHANNELS])
{
        uint64_t first, second;

        if (take_number(text, &first) < 0 || **text != ',')
                return -EINVAL;
        (*text)++;
        if (take_number(text, &second) < 0)
                return -EINVAL;
        ret[CHANNEL_STDOUT] = first;
        ret[CHANNEL_STDERR] = second;
        return 0;
}

/* See the header. */
int offsets_parse(const char *text, enum output_channel lone, uint64_t ret[N_CHANNELS])
{
        uint64_t pair[N_CHANNELS] = { 0 };
        const char *rest = text;

        if (take_number(&rest, &pair[lone]) < 0)
                return -EINVAL;
        if (*rest != '\0') {
                rest = text;
                if (take_pair(&rest, pair) < 0 || *rest != '\0')
                        return -EINVAL;
        }
        ret[CHANNEL_STDOUT] = pair[CHANNEL_STDOUT];
        ret[CHANNEL_STDERR] = pair[CHANNEL_STDERR];
        return 0;
}

/* See the header. */
int offsets_parse_id(const char *text, uint64_t ret[N_CHANNELS], bool *ret_is_end)
{
        uint64_t pair[N_CHANNELS];
        bool is_end;

        if (take_pair(&text, pair) < 0)
                return -EINVAL;
        is_end = str_equal(text, ",end");
        if (!is_end && *text != '\0')
                return -EINVAL;
        ret[CHANNEL_STDOUT] = pair[CHANNEL_STDOUT];
        ret[CHANNEL_STDERR] = pair[CHANNEL_STDERR];
        *ret_is_end = is_end;
        return 0;
}

/* See the header. */
const char *offsets_write_id(char dst[OFFSETS_ID_SIZE], const uint64_t at[N_CHANNELS], bool is_end)
{
        (void)snprintf(dst, OFFSETS_ID_SIZE, "%" PRIu64 ",%" PRIu64 "%s", at[CHANNEL_STDOUT],
                       at[CHANNEL_STDERR], is_end ? ",end" : "");
        return dst;
}
