/* SPDX-License-Identifier: Apache-2.0 */

#include "proc/signals.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <strings.h>

#include "agent/base/macros.h"
#include "agent/base/str.h"

#define PREFIX      "SIG"
#define PREFIX_SIZE (sizeof(PREFIX) - 1)

#define ROW(name)                       \
        {                               \
                PREFIX #name, SIG##name \
        }

/* A signal with several names has the usual one first. */
static const struct {
        const char *name;
        int signum;
} signal_table[] = {
        ROW(HUP),  ROW(INT),   ROW(QUIT),   ROW(ILL),  ROW(TRAP), ROW(ABRT), ROW(IOT),
        ROW(BUS),  ROW(FPE),   ROW(KILL),   ROW(USR1), ROW(SEGV), ROW(USR2), ROW(PIPE),
        ROW(ALRM), ROW(TERM),  ROW(STKFLT), ROW(CHLD), ROW(CLD),  ROW(CONT), ROW(STOP),
        ROW(TSTP), ROW(TTIN),  ROW(TTOU),   ROW(URG),  ROW(XCPU), ROW(XFSZ), ROW(VTALRM),
        ROW(PROF), ROW(WINCH), ROW(IO),     ROW(POLL), ROW(PWR),  ROW(SYS),
};

/* See the header. */
int signal_from_name(const char *name)
{
        uint64_t number;

        if (str_parse_u64(name, &number) == 0)
                return number > 0 && number < NSIG ? (int)number : -EINVAL;
        if (strncasecmp(name, PREFIX, PREFIX_SIZE) == 0)
                name += PREFIX_SIZE;
        for (size_t i = 0; i < ARRAY_LEN(signal_table); i++)
                if (strcasecmp(name, signal_table[i].name + PREFIX_SIZE) == 0)
                        return signal_table[i].signum;
        return -EINVAL;
}

/* See the header. */
const char *signal_name(int signum)
{
        for (size_t i = 0; i < ARRAY_LEN(signal_table); i++)
                if (signal_table[i].signum == signum)
                        return signal_table[i].name;
        return NULL;
}
