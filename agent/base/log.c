/* SPDX-License-Identifier: Apache-2.0 */

/* The log. A line is built on the stack and leaves in one write, so lines of several threads or
 * processes on the same stderr never mix. A log that cannot be written is dropped: logging must
 * not take the agent down. */

#include "agent/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"

#define LINE_SIZE (4 * KIB)

static const struct {
        const char *name;
        int priority; /* of syslog, which the journal uses */
} levels[] = {
        [LOG_LEVEL_ERROR] = { "error", 3 },
        [LOG_LEVEL_WARNING] = { "warning", 4 },
        [LOG_LEVEL_INFO] = { "info", 6 },
        [LOG_LEVEL_DEBUG] = { "debug", 7 },
};

static enum log_level max_level = LOG_LEVEL_INFO;
static bool to_journal;

/* Sets level and form; call it once, before there are threads. */
void log_init(enum log_level level, bool journald)
{
        max_level = level;
        to_journal = journald;
}

/* Changes the level while running. */
void log_set_level(enum log_level level)
{
        max_level = level;
}

/* Whether a line of @level would be written. */
bool log_enabled(enum log_level level)
{
        return level <= max_level;
}

/* Compares stderr with the "device:inode" that systemd put into the environment. */
bool log_stderr_is_journal(void)
{
        const char *stream = getenv("JOURNAL_STREAM");
        char own[64];
        struct stat st;

        if (!stream || fstat(STDERR_FILENO, &st) < 0)
                return false;

        (void)snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
        return strcmp(stream, own) == 0;
}

/* Adds formatted text at @used and returns the new length, always less than @size. */
PRINTF_LIKE(4, 0)
static size_t append(char *line, size_t size, size_t used, const char *fmt, va_list ap)
{
        int n = vsnprintf(line + used, size - used, fmt, ap);

        if (n < 0)
                return used;
        return MIN(used + (size_t)n, size - 1);
}

PRINTF_LIKE(4, 5)
static size_t appendf(char *line, size_t size, size_t used, const char *fmt, ...)
{
        va_list ap;

        va_start(ap, fmt);
        used = append(line, size, used, fmt, ap);
        va_end(ap);
        return used;
}

PRINTF_LIKE(6, 0)
static size_t format_line(char *line, size_t size, enum log_level level, const char *module,
                          const char *event, const char *fmt, va_list ap)
{
        char now[CLOCK_RFC3339_SIZE];
        size_t used = 0;

        if (to_journal)
                used = appendf(line, size, used, "<%d>%s: %s", levels[level].priority, module,
                               event);
        else
                used = appendf(line, size, used, "%s %s %s: %s", clock_rfc3339_now(now),
                               levels[level].name, module, event);
        if (fmt) {
                used = appendf(line, size, used, " ");
                used = append(line, size, used, fmt, ap);
        }

        /* Whatever slipped in without log_quote must still not begin a line of its own. */
        for (size_t i = 0; i < used; i++) {
                unsigned char c = (unsigned char)line[i];

                if (c < 0x20 || c == 0x7f)
                        line[i] = '?';
        }
        line[used++] = '\n'; /* in place of the terminator */
        return used;
}

/* See the header. */
size_t log_format(char *dst, size_t size, enum log_level level, const char *module,
                  const char *event, const char *fmt, ...)
{
        size_t used;
        va_list ap;

        va_start(ap, fmt);
        used = format_line(dst, size, level, module, event, fmt, ap);
        va_end(ap);
        return used;
}

/* Writes one line. Prefer the log_info … macros, which do not evaluate their arguments in vain. */
void log_write(enum log_level level, const char *module, const char *event, const char *fmt, ...)
{
        char line[LINE_SIZE];
        int saved_errno = errno;
        size_t size;
        va_list ap;

        va_start(ap, fmt);
        size = format_line(line, sizeof(line), level, module, event, fmt, ap);
        va_end(ap);

        while (write(STDERR_FILENO, line, size) < 0 && errno == EINTR)
                ;
        errno = saved_errno;
}

/* Characters that need no quotes: none that separates or quotes values. */
static bool is_bare(unsigned char c)
{
        return c > 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

/* Makes @s a value that cannot be taken for anything else in the line; NULL becomes "-". The
 * closing quote is there even when the value is cut. @size should be at least 8. */
const char *log_quote_into(char *dst, size_t size, const char *s)
{
        static const char digits[] = "0123456789abcdef";
        size_t length, used = 0;

        if (size == 0)
                return dst;
        if (!s)
                s = "-";

        for (length = 0; is_bare((unsigned char)s[length]);)
                length++;
        if (length > 0 && s[length] == '\0' && length < size) {
                memcpy(dst, s, length + 1);
                return dst;
        }

        if (size < 3) { /* no room for two quotes */
                dst[0] = '\0';
                return dst;
        }

        dst[used++] = '"';
        for (; *s; s++) {
                unsigned char c = (unsigned char)*s;
                bool is_escaped = c == '"' || c == '\\';
                bool is_hex = c < 0x20 || c >= 0x7f;

                if (used + (is_hex ? 4 : is_escaped ? 2 : 1) + 2 > size)
                        break;
                if (is_hex) {
                        dst[used++] = '\\';
                        dst[used++] = 'x';
                        dst[used++] = digits[c >> 4];
                        dst[used++] = digits[c & 15];
                } else {
                        if (is_escaped)
                                dst[used++] = '\\';
                        dst[used++] = (char)c;
                }
        }
        dst[used++] = '"';
        dst[used] = '\0';
        return dst;
}
