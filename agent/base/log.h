/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One structured line per event on stderr:
 *
 *     2026-01-28T10:00:00.123Z info http: listening address=127.0.0.1:7777
 *
 * or, under systemd's journal (which stamps the time itself), `<6>http: listening address=…`.
 * A file defines LOG_MODULE before it includes this header. The event is a short constant phrase; what
 * varies follows as key=value. Anything a client chose goes through log_quote. Never log tokens,
 * environment values or file content. */

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/macros.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Sets the level, and whether lines carry journald's priority prefix instead of a time. */
void log_init(enum log_level level, bool journald);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* True when stderr is connected to the journal (JOURNAL_STREAM names its device and inode). */
bool log_stderr_is_journal(void);

/* @fmt may be NULL when there is nothing to add. One write per line; lines are cut at 4 KiB. */
void log_write(enum log_level level, const char *module, const char *event, const char *fmt, ...)
        PRINTF_LIKE(4, 5);

/* The same line into @dst (@size at least 256), newline included, not terminated; returns its length. For those
 * who write many at once. */
size_t log_format(char *dst, size_t size, enum log_level level, const char *module,
                  const char *event, const char *fmt, ...) PRINTF_LIKE(6, 7);

/* Copies @s into @dst as a value that cannot break the line: bare when it is plain, else in double
 * quotes with \xNN for what is not printable ASCII; cut to fit. Returns @dst. */
const char *log_quote_into(char *dst, size_t size, const char *s);
#define log_quote(s) log_quote_into((char[128]){ 0 }, 128, (s))

#define log_at_(level, ...)                                        \
        do {                                                       \
                if (log_enabled(level))                            \
                        log_write(level, LOG_MODULE, __VA_ARGS__); \
        } while (0)

/* log_info("event", NULL) or log_info("event", "key=%s", value) */
#define log_error(...)   log_at_(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_at_(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_at_(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_at_(LOG_LEVEL_DEBUG, __VA_ARGS__)
