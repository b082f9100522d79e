/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/execution/arguments.h"

const struct enum_name execution_encodings[] = {
        { "utf-8", DOCUMENT_UTF8 },
        { "utf8", DOCUMENT_UTF8 },
        { "text", DOCUMENT_UTF8 },
        { "base64", DOCUMENT_BASE64 },
        { NULL, 0 },
};

/* See the header. */
struct process_limits execution_limits(const struct execution_args *args)
{
        return (struct process_limits){
                .max_memory = args->memory_mb * MIB,
                .cpu_seconds = args->cpu_seconds,
                .max_tasks = args->max_processes,
        };
}
