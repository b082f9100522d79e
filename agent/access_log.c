/* SPDX-License-Identifier: Apache-2.0 */

/* The access log's lines wait in a buffer until the loop is about to sleep, or the buffer is nearly full. */

#include "agent/access_log.h"

#include <stdio.h>
#include <unistd.h>

#define LOG_MODULE "access"
#include "agent/base/log.h"

#define LINE_MAX_SIZE 1024

static struct {
        char data[16 * 1024];
        size_t size;
} pending;

/* See the header. */
void access_log(const struct access_log_line *line)
{
        if (!log_enabled(LOG_LEVEL_INFO))
                return;
        if (pending.size + LINE_MAX_SIZE > sizeof(pending.data))
                access_log_flush();
        pending.size += log_format(
                pending.data + pending.size, LINE_MAX_SIZE, LOG_LEVEL_INFO, LOG_MODULE, "request",
                "id=%s method=%s route=%s status=%u duration_ms=%llu.%03u received=%llu "
                "sent=%llu subject=%s",
                log_quote(line->request_id), log_quote(line->method),
                line->route ? line->route : log_quote(line->path), line->status,
                (unsigned long long)(line->duration_us / 1000),
                (unsigned)(line->duration_us % 1000), (unsigned long long)line->received,
                (unsigned long long)line->sent, log_quote(line->subject));
}

/* See the header. */
void access_log_flush(void)
{
        if (pending.size == 0)
                return;
        /* Nobody could be told about a failure. */
        if (write(STDERR_FILENO, pending.data, pending.size) < 0)
                (void)0;
        pending.size = 0;
}
