/* SPDX-License-Identifier: Apache-2.0 */

/* The way of an execution in the foreground, with the registry in the place of the supervisor: program.json is read and
 * decoded (by a worker, the text), source and input are written, the environment is built, and job_launch takes it
 * from there.
 *
 * What was started is remembered until it runs, because a keeper only tells which step went wrong and the errno; the
 * client knows its program and its directory by other names. If the agent is killed in between, the words are
 * general ones.
 *
 * All that get room at once would have their programs in memory at once, of up to 64 MiB each. So only some are loaded
 * at a time, in the order of their turns; the others have their room, and wait for the memory.
 *
 * When the agent stops, the registry calls nobody any more. What was being started is left as it is: to the next agent
 * it is a job that waits. */

#include "handlers/jobs/start.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/list.h"
#include "agent/config.h"
#include "handlers/execution/launch.h"
#include "handlers/execution/tally.h"
#include "handlers/jobs/callback.h"
#include "handlers/jobs/program.h"
#include "handlers/jobs/submission.h"
#include "proc/jobs.h"

/* Starts between the reading of their program and the moment in which it is not needed any more. */
#define MAX_LOADED 4

struct start {
        struct list link;    /* starts */
        struct list waiting; /* until its program is to be read */
        bool is_loaded;
        struct app *app;
        struct job *job; /* a reference */
        struct program program;
        struct launch launch;
        struct job_watch watch; /* from job_launch on */
};

/* All, of one agent. */
static struct list starts = LIST_INIT(starts);
static struct list waiting = LIST_INIT(waiting);
static unsigned n_loaded;

static void load_next(void);

/* Its program has been freed. */
static void leave_loaded(struct start *s)
{
        if (!s->is_loaded)
                return;
        s->is_loaded = false;
        n_loaded--;
}

static void start_free(struct start *s)
{
        list_remove(&s->link);
        list_remove(&s->waiting);
        job_watch_remove(&s->watch);
        launch_done(&s->launch);
        program_done(&s->program);
        leave_loaded(s);
        job_unref(s->job);
        free(s);
        load_next();
}

/* --- the end --- */

static const struct start *find(const struct job *job)
{
        list_for_each(link, &starts) {
                const struct start *s = list_entry(link, struct start, link);

                if (s->job == job)
                        return s;
        }
        return NULL;
}

/* Nobody knows any more what was to be started. */
static void explain_briefly(const struct spawn_failure *failure, struct launch_failure *ret)
{
        const char *why = strerror(failure->error);

        if (failure->stage == SPAWN_CWD)
                launch_fail(ret, PROBLEM_WORKDIR_NOT_FOUND, "/workdir", "workdir: %s", why);
        else if (failure->stage == SPAWN_EXEC)
                launch_fail(ret, PROBLEM_COMMAND_NOT_EXECUTABLE, NULL,
                            "the program could not be executed: %s", why);
        else
                launch_explain_setup(failure->error, ret);
}

static void explain(struct job *job, const struct spawn_failure *failure)
{
        const struct start *s = find(job);
        struct launch_failure why;

        if (failure->error == 0 && job_failure(job))
                launch_fail(&why, PROBLEM_UNAVAILABLE, NULL, "%s", job_failure(job)->message);
        else if (failure->stage == KEEPER_STAGE && failure->error != E2BIG)
                launch_fail(&why, PROBLEM_UNAVAILABLE, NULL, "no process could be started: %s",
                            strerror(failure->error));
        else if (!s)
                explain_briefly(failure, &why);
        else if (failure->error == E2BIG)
                launch_explain_size(&s->launch, &why);
        else
                launch_explain(&s->launch, failure, &why);
        job_set_failure(job, &(struct job_failure){ (int)why.problem, why.field, why.message });
}

/* Those that ended under an earlier agent, or under none, were that one's to count, or nobody's. */
static bool ended_here(const struct app *app, const struct job *job)
{
        int64_t age_s = (int64_t)((clock_now_ms() - app->metrics.started_ms + 999) / 1000);
        int64_t ended_ms = job_ended_ms(job);

        /* The wall clock may have been set since: forward, as after a pause, or back. */
        return ended_ms >= app->metrics.started_realtime_ms ||
               clock_realtime_s() - ended_ms / 1000 <= age_s;
}

/* By refuse, or under an earlier agent. The registry itself has a sentence at best. */
static bool is_explained(const struct job *job)
{
        return job_failure(job) && job_failure(job)->problem;
}

/* As opposed to what was refused, or killed while it waited. */
static bool was_executed(const struct job *job)
{
        return job_result(job)->reason == KEEPER_SPAWN ? !is_explained(job)
                                                       : job_started_ms(job) > 0;
}

/* See the header. */
void start_on_end(void *arg, struct job *job)
{
        const struct job_status *result = job_result(job);
        struct app *app = arg;

        if (ended_here(app, job) && was_executed(job))
                tally_job(app, job);
        if (result->reason == KEEPER_SPAWN && !is_explained(job))
                explain(job, &result->failure);
        if (job_callback_url(job) && !submission_tells_failure(job))
                callback_on_end(app, job);
}

/* --- the start --- */

static void refuse(struct start *s, const struct launch_failure *why)
{
        struct job_failure failure = { (int)why->problem, why->field, why->message };
        struct job *job = job_ref(s->job);

        tally_refused_job(s->app, job_language(job));
        start_free(s);
        job_refuse(job, &failure);
        job_unref(job);
}

static void on_change(struct job_watch *watch, struct job *job)
{
        if (job_phase(job) != PHASE_QUEUED)
                start_free(container_of(watch, struct start, watch));
}

static void launch(struct start *s)
{
        const struct execution_args *args = program_execution(&s->program);
        const struct job_args *job_args = program_job(&s->program);
        const struct job_launch o = {
                .argv = s->launch.argv,
                .first = s->launch.first,
                .envp = s->launch.envp,
                .cwd = s->launch.cwd,
                .input_fd = s->launch.staging.input_fd,
                .has_input = s->launch.has_input,
                .has_terminal = job_args->tty,
                .has_rich = s->launch.has_rich,
                .size = { (unsigned)job_args->columns, (unsigned)job_args->rows },
                .timeout_ms = job_timeout_ms(s->job),
                .grace_ms = args->has_grace ? args->grace_ms : s->app->config->job_kill_grace_ms,
                .limits = execution_limits(args),
        };

        s->watch.on_change = on_change;
        job_watch_add(s->job, &s->watch);
        job_launch(s->job, &o);
        launch_forget(&s->launch);
        program_done(&s->program);
        leave_loaded(s);
        load_next();
}

static void on_ready(struct launch *l)
{
        struct start *s = container_of(l, struct start, launch);

        if (!s->app->jobs) { /* the next agent's */
                start_free(s);
        } else if (job_phase_is_final(job_phase(s->job))) { /* killed meanwhile */
                l->staging.script_name = NULL;              /* whoever removes it has been there */
                start_free(s);
        } else if (l->has_failed) {
                struct launch_failure why = l->failure;

                refuse(s, &why);
        } else {
                launch(s);
        }
}

static void on_program(void *arg, json_t *document, const struct error *read_err)
{
        struct start *s = arg;
        struct launch_failure why;
        struct error err = ERROR_INIT;

        if (!s->app->jobs) { /* the next agent's */
                json_decref(document);
                start_free(s);
                return;
        }
        if (!document) {
                launch_fail(&why, PROBLEM_UNAVAILABLE, NULL, "nothing was started: %s",
                            read_err->message);
                refuse(s, &why);
                return;
        }
        if (program_decode(&s->program, document, &err) < 0) {
                launch_fail(&why, PROBLEM_INTERNAL, NULL,
                            "nothing was started: program.json of the job is damaged: %s",
                            err.message);
                refuse(s, &why);
                return;
        }
        s->launch.spec = program_spec(&s->program);
        s->launch.spec.has_input = !program_job(&s->program)->tty;
        s->launch.spec.may_be_rich = !program_job(&s->program)->tty;
        s->launch.script_root = jobs_script_root(s->app->jobs);
        s->launch.script_name = job_execution_id(s->job);
        launch_begin(&s->launch);
}

/* Reading may fail at once, which is the turn of the next: that one is found by the loop that runs already. */
static void load_next(void)
{
        static bool is_busy;

        if (is_busy)
                return;
        is_busy = true;
        while (n_loaded < MAX_LOADED && !list_is_empty(&waiting)) {
                struct start *s = list_entry(waiting.next, struct start, waiting);

                list_remove(&s->waiting);
                if (!job_is_starting(s->job)) { /* killed meanwhile; there is no script yet */
                        start_free(s);
                        continue;
                }
                s->is_loaded = true;
                n_loaded++;
                job_read_program(s->job, on_program, s);
        }
        is_busy = false;
}

/* See the header. */
void start_job(void *arg, struct job *job)
{
        struct start *s = xnew(struct start);

        s->app = arg;
        s->job = job_ref(job);
        s->launch = (struct launch){ .app = arg, .done = on_ready, .staging.input_fd = -1 };
        list_append(&starts, &s->link);
        list_append(&waiting, &s->waiting);
        load_next();
}
