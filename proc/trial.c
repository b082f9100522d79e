/* SPDX-License-Identifier: Apache-2.0 */

/* Programs are executed by the shim as whoever executions run as, so what only that user lacks (room among his
 * processes, say) is found out, too. A system without true(1) is no reason to complain: the shim has looked for it, and
 * what was to be tried has worked until there. */

#include "proc/trial.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/base/fd.h"
#include "agent/base/id.h"
#include "proc/process_private.h"

static const char *const stage_names[] = {
        [SPAWN_CWD] = "enter the directory /",  [SPAWN_USER] = "become the user of executions",
        [SPAWN_LIMITS] = "set resource limits", [SPAWN_TTY] = "take a terminal",
        [SPAWN_EXEC] = "execute a program",     [SPAWN_LOST] = "reach the program",
};

/* Nothing has run in it but the program, so it is empty, or will be in a moment; then the next trial gives it back. */
static void give_back_leaf(struct trial *t, bool is_last)
{
        if (t->leaf.fd < 0 || cgroup_leaf_give_back(&t->leaf) != -EBUSY)
                return;
        if (!is_last)
                return;
        (void)cgroup_leaf_remove(&t->leaf); /* at worst our successor finds it, and removes it */
        t->leaf.fd = fd_close(t->leaf.fd);
}

/* Returns false when all is well. */
static bool judge(const struct trial *t, int status, const struct spawn_failure *failure,
                  struct error *err)
{
        const char *name = failure->stage < (int)ARRAY_LEN(stage_names) && failure->stage >= 0
                                   ? stage_names[failure->stage]
                                   : NULL;

        if (t->was_killed)
                (void)error_set(err, 1, "the program true did not end by itself");
        else if (failure->stage == SPAWN_EXEC && failure->error == ENOENT)
                return false;
        else if (failure->stage != SPAWN_OK)
                (void)error_set(err, -failure->error, "cannot %s", name ? name : "start");
        else if (WIFSIGNALED(status))
                (void)error_set(err, 1, "the program true was ended by signal %d",
                                WTERMSIG(status));
        else if (WEXITSTATUS(status) != 0)
                (void)error_set(err, 1, "the program true ended with status %d",
                                WEXITSTATUS(status));
        else
                return false;
        return true;
}

static void on_death(struct supervisor_ward *ward, int status)
{
        struct trial *t = container_of(ward, struct trial, ward);
        struct spawn_failure failure;
        struct error err = ERROR_INIT;
        bool has_failed;

        spawn_read_failure(t->status_fd, &failure);
        t->status_fd = fd_close(t->status_fd);
        t->is_running = false;
        give_back_leaf(t, t->supervisor->is_closing);
        has_failed = judge(t, status, &failure, &err);
        t->on_end(t, has_failed ? &err : NULL);
}

/* See the header. */
void trial_init(struct trial *t, struct supervisor *s)
{
        t->supervisor = s;
        t->ward.on_death = on_death;
        list_init(&t->ward.link);
        t->leaf.fd = -1;
        t->status_fd = -1;
}

static int start_program(struct trial *t, struct error *err)
{
        static char *const argv[] = { (char *)"true", NULL };
        static char *const envp[] = {
                (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL
        };
        struct supervisor *s = t->supervisor;
        const struct process_limits nothing = { 0 };
        struct process_limits_plan plan;
        char name[ID_SIZE];
        struct spawn_spec spec = {
                .shim = s->options.shim,
                .argv = argv,
                .envp = envp,
                .cwd = "/",
                .fds = { -1, -1, -1 },
                .user = supervisor_other_user(s),
                .max_files = s->options.max_files,
        };
        int r;

        supervisor_plan_limits(s, &nothing, &plan);
        spec.limits = plan.own;
        if (s->cgroup) {
                id_new(name, "trial_");
                r = cgroup_leaf_take(&t->leaf, s->cgroup, name, &plan.leaf, err);
                if (r < 0)
                        return r;
        }
        spec.cgroup_fd = t->leaf.fd;
        return spawn(&spec, &t->ward.pid, &t->status_fd, err);
}

/* See the header. */
int trial_start(struct trial *t, struct error *err)
{
        int r;

        assert(!t->is_running);
        if (t->supervisor->is_closing)
                return error_set(err, -ESHUTDOWN, "no program is started any more");
        give_back_leaf(t, true);
        t->was_killed = false;
        r = start_program(t, err);
        if (r < 0) {
                give_back_leaf(t, true);
                return r;
        }
        r = supervisor_guard(t->supervisor, &t->ward);
        assert(r == 0); /* it was born a moment ago, and nobody else has reaped it */
        t->is_running = true;
        return 0;
}

/* See the header. */
bool trial_is_unheard(const struct trial *t)
{
        siginfo_t info = { 0 };

        return t->is_running &&
               waitid(P_PID, (id_t)t->ward.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid == t->ward.pid;
}

/* See the header. */
void trial_kill(struct trial *t)
{
        if (!t->is_running)
                return;
        t->was_killed = true;
        (void)kill(t->ward.pid, SIGKILL);
}

/* See the header. */
void trial_close(struct trial *t)
{
        trial_kill(t);
        if (!t->is_running)
                give_back_leaf(t, true);
}
