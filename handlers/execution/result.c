/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/execution/result.h"

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "handlers/execution/usage.h"
#include "proc/process.h"

static double seconds(uint64_t us)
{
        return (double)us / 1e6;
}

/* See the header. */
json_t *result_describe(const struct process *p, const char *label_name, const char *label)
{
        const struct process_result *result = process_result(p);
        char now[CLOCK_RFC3339_SIZE];
        json_t *text = json_string(label);
        json_t *doc;

        doc = json_pack("{s:b, s:i, s:i, s:s, s:f, s:s, s:I, s:s}",                      //
                        "success", result->reason == END_EXIT && result->exit_code == 0, //
                        "exit_code", result->exit_code, "exitCode", result->exit_code,   //
                        "reason", process_reason_name(result->reason),                   //
                        "execution_time", seconds(result->duration_us),                  //
                        "execution_id", process_id(p),                                   //
                        "pid", (json_int_t)process_pid(p),                               //
                        "timestamp", clock_rfc3339_now(now));
        json_object_set_new(doc, label_name, text ? text : json_string(""));
        json_object_set_new(doc, "usage", usage_describe(&result->usage));
        if (result->ignores_tasks)
                json_object_set_new(doc, "limits_not_enforced", json_pack("[s]", "max_processes"));
        if (result->signal)
                json_object_set_new(doc, "signal", json_integer(result->signal));
        return doc;
}

/* See the header. */
char *result_note(const struct process_result *result, uint64_t timeout_ms)
{
        switch (result->reason) {
        case END_TIMEOUT:
                return xasprintf("\nvm-agent: timed out after %g s\n", (double)timeout_ms / 1000);
        case END_OUTPUT_LIMIT:
                return xasprintf("\nvm-agent: ended because it wrote too much output\n");
        case END_OOM:
                return xasprintf("\nvm-agent: ended because it ran out of memory\n");
        case END_CPU_LIMIT:
                return xasprintf("\nvm-agent: used up its %llu s of processor time\n",
                                 (unsigned long long)result->cpu_seconds);
        default:
                return NULL;
        }
}
