/* SPDX-License-Identifier: Apache-2.0 */

/* The tables are all there is: how a process or a keeper calls an end, and how we do. */

#include "handlers/execution/tally.h"

#include <assert.h>

#include "agent/app.h"
#include "agent/base/str.h"
#include "handlers/execution/launch.h"
#include "proc/jobs.h"
#include "proc/process.h"

static_assert((int)EXECUTION_PYTHON == LANGUAGE_PYTHON &&
                      (int)EXECUTION_JAVASCRIPT == LANGUAGE_JAVASCRIPT &&
                      (int)EXECUTION_BASH == LANGUAGE_BASH && (int)EXECUTION_GO == LANGUAGE_GO &&
                      (int)EXECUTION_COMMAND == N_LANGUAGES,
              "languages have the same numbers");

static enum execution_outcome outcome_of_process(const struct process_result *result)
{
        switch (result->reason) {
        case END_EXIT:
                return result->exit_code == 0 ? EXECUTION_SUCCESS : EXECUTION_ERROR;
        case END_SIGNAL:
                return EXECUTION_SIGNAL;
        case END_TIMEOUT:
                return EXECUTION_TIMEOUT;
        case END_OOM:
                return EXECUTION_OOM;
        case END_OUTPUT_LIMIT:
                return EXECUTION_OUTPUT_LIMIT;
        case END_CANCELLED:
                return EXECUTION_KILLED;
        case END_CPU_LIMIT:
                return EXECUTION_CPU_LIMIT;
        case END_SPAWN:
        case END_NONE:
                break;
        }
        return EXECUTION_NOT_STARTED;
}

static enum execution_outcome outcome_of_job(const struct job_status *result)
{
        switch (result->reason) {
        case KEEPER_EXIT:
                return result->exit_code == 0 ? EXECUTION_SUCCESS : EXECUTION_ERROR;
        case KEEPER_SIGNAL:
                return EXECUTION_SIGNAL;
        case KEEPER_TIMEOUT:
                return EXECUTION_TIMEOUT;
        case KEEPER_KILLED:
                return EXECUTION_KILLED;
        case KEEPER_OOM:
                return EXECUTION_OOM;
        case KEEPER_LOST:
                return EXECUTION_LOST;
        case KEEPER_CPU_LIMIT:
                return EXECUTION_CPU_LIMIT;
        case KEEPER_SPAWN:
        case KEEPER_RUNS:
                break;
        }
        return EXECUTION_NOT_STARTED;
}

static enum execution_kind kind_of(const struct launch *launch)
{
        return launch->spec.code ? (enum execution_kind)launch->spec.language : EXECUTION_COMMAND;
}

static enum execution_kind kind_of_language(const char *language)
{
        for (int i = 0; i < N_LANGUAGES && language; i++)
                if (str_equal(language, execution_kind_names[i]))
                        return (enum execution_kind)i;
        return EXECUTION_COMMAND;
}

/* See the header. */
void tally_process(struct app *app, const struct launch *launch, enum execution_mode mode,
                   const struct process_result *result)
{
        execution_metrics_count(app->metrics.executions, kind_of(launch), mode,
                                outcome_of_process(result), result->duration_us);
}

/* See the header. */
void tally_refused(struct app *app, const struct launch *launch, enum execution_mode mode)
{
        execution_metrics_count(app->metrics.executions, kind_of(launch), mode, EXECUTION_REFUSED,
                                0);
}

/* See the header. */
void tally_job(struct app *app, const struct job *job)
{
        const struct job_status *result = job_result(job);

        execution_metrics_count(app->metrics.executions, kind_of_language(job_language(job)),
                                EXECUTION_BACKGROUND, outcome_of_job(result), result->duration_us);
}

/* See the header. */
void tally_refused_job(struct app *app, const char *language)
{
        execution_metrics_count(app->metrics.executions, kind_of_language(language),
                                EXECUTION_BACKGROUND, EXECUTION_REFUSED, 0);
}
