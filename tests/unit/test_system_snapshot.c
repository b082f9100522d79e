/* SPDX-License-Identifier: Apache-2.0 */

/* A look at the real /proc, and who belongs to whom. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "proc/system_commands.h"
#include "proc/system_cpu.h"
#include "proc/system_snapshot.h"
#include "proc/tree.h"

#define EXECUTION "exec_0123456789"

static struct system_snapshot *take(struct system_owners *owners)
{
        CLEANUP(system_cpu_free) struct system_cpu *cpu = system_cpu_new();
        CLEANUP(system_commands_free) struct system_commands *commands = system_commands_new();
        struct system_snapshot *s = NULL;
        struct error err = ERROR_INIT;

        assert_int_equal(system_snapshot_take(cpu, commands, owners, &s, &err), 0);
        assert_null(owners->v);
        for (size_t i = 1; i < s->n; i++)
                assert_true(s->processes[i - 1].pid < s->processes[i].pid);
        return s;
}

static const struct system_process *find(const struct system_snapshot *s, pid_t pid)
{
        for (size_t i = 0; i < s->n; i++)
                if (s->processes[i].pid == pid)
                        return &s->processes[i];
        return NULL;
}

/* A process with @marker (or NULL) that says when it is ready, in a session of its own or not. */
static pid_t start(const char *script, const char *marker, bool has_session)
{
        int ends[2];
        char byte;
        pid_t pid;

        assert_int_equal(pipe(ends), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                if (has_session)
                        (void)setsid();
                if (marker)
                        (void)setenv(TREE_MARKER, marker, 1);
                (void)dup2(ends[1], 1);
                (void)close(ends[0]);
                (void)close(ends[1]);
                (void)execl("/bin/bash", "bash", "-c", script, (char *)NULL);
                _exit(127);
        }
        (void)close(ends[1]);
        assert_int_equal(read(ends[0], &byte, 1), 1);
        (void)close(ends[0]);
        return pid;
}

static void end(pid_t pid)
{
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_ourselves(void **state)
{
        struct system_owners none = { 0 };
        CLEANUP(system_snapshot_free) struct system_snapshot *s = take(&none);
        const struct system_process *p = find(s, getpid());

        (void)state;
        assert_non_null(p);
        assert_int_equal(p->parent, getppid());
        assert_int_equal(p->session, getsid(0));
        assert_int_equal(p->uid, geteuid());
        assert_int_equal(p->state, 'R');
        assert_int_equal(p->threads, 1);
        assert_true(p->rss > 0);
        assert_true(p->memory_percent > 0 && p->memory_percent < 100);
        assert_true(p->started_ms > 0);
        assert_null(p->owner);
        assert_int_equal(s->cpu_interval_us, 0);
        /* The kernel keeps 15 bytes of a name. */
        assert_int_equal(p->name.size, 15);
        assert_memory_equal(system_snapshot_text(s, &p->name), "test_system_sna", 15);
        assert_non_null(strstr(system_snapshot_text(s, &p->command), "test_system_snapshot"));
}

/* Command lines are kept between looks, but not those of the program that it was before. */
static void test_another_program(void **state)
{
        static const char script[] = "echo; kill -STOP $$; exec sleep 1000";
        CLEANUP(system_cpu_free) struct system_cpu *cpu = system_cpu_new();
        CLEANUP(system_commands_free) struct system_commands *commands = system_commands_new();
        pid_t pid = start(script, NULL, false);
        bool is_sleep = false;
        int status;

        (void)state;
        assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
        assert_true(WIFSTOPPED(status));
        for (unsigned n = 0; !is_sleep; n++) {
                CLEANUP(system_snapshot_free) struct system_snapshot *s = NULL;
                struct system_owners none = { 0 };
                struct error err = ERROR_INIT;
                const struct system_process *p;

                assert_int_equal(system_snapshot_take(cpu, commands, &none, &s, &err), 0);
                p = find(s, pid);
                assert_non_null(p);
                /* The kernel sets the name first, and for a moment there are no arguments. */
                is_sleep = p->name.size == 5 && p->command.size > 0 &&
                           memcmp(system_snapshot_text(s, &p->name), "sleep", 5) == 0;
                if (is_sleep) {
                        assert_int_equal(p->command.size, strlen("sleep 1000"));
                        assert_memory_equal(system_snapshot_text(s, &p->command), "sleep 1000", 10);
                } else if (n < 2) {
                        assert_int_equal(p->command.size, strlen("bash -c ") + strlen(script));
                }
                if (n == 1)
                        assert_int_equal(kill(pid, SIGCONT), 0);
        }
        end(pid);
}

static void test_kept_commands(void **state)
{
        CLEANUP(system_commands_free) struct system_commands *c = system_commands_new();
        struct system_command one = { .pid = 7, .start = 1, .image = 2, .read_us = 1000 };
        struct system_command unknown = { .pid = 8, .start = 1, .read_us = 1000 };
        const struct system_command *found;

        (void)state;
        system_commands_begin(c, 1000);
        system_commands_keep(c, &one, "lost with the look that failed", 5);
        system_commands_begin(c, 1000);
        assert_null(system_commands_find(c, 7));
        system_commands_keep(c, &unknown, "x", 1);
        system_commands_keep(c, &one, "text", 4);
        one.pid = 3;
        system_commands_keep(c, &one, "", 0);
        system_commands_end(c);
        system_commands_begin(c, 1000 + SYSTEM_COMMANDS_FRESH_US - 1);
        found = system_commands_find(c, 7);
        assert_non_null(found);
        assert_memory_equal(system_commands_text(c, found), "text", found->size);
        assert_string_equal(system_commands_text(c, system_commands_find(c, 3)), "");
        assert_null(system_commands_find(c, 8));
        system_commands_begin(c, 1000 + SYSTEM_COMMANDS_FRESH_US);
        assert_null(system_commands_find(c, 7));
}

static void test_long_command_is_cut(void **state)
{
        static const char script[] = "s=$(printf '%05000d' 0); echo; exec -a $s sleep 1000";
        struct system_owners none = { 0 };
        pid_t pid = start(script, NULL, false);
        const struct system_process *p;
        size_t size = 0;

        (void)state;
        while (size < 1024) { /* until it is sleep */
                CLEANUP(system_snapshot_free) struct system_snapshot *s = take(&none);

                p = find(s, pid);
                assert_non_null(p);
                size = system_snapshot_text(s, &p->command)[0] == '0' ? p->command.size : 0;
        }
        assert_int_equal(size, 1024);
        end(pid);
}

static void test_owners(void **state)
{
        /* The leader's environment has no marker; its child wiped its own; so ancestry tells. */
        pid_t leader = start("env -i sleep 1000 & echo; wait", NULL, true);
        pid_t marked = start("sleep 1000 & echo; wait", EXECUTION, true);
        pid_t job = start("echo; sleep 1000; true", "proc_1", true);
        pid_t foreign = start("echo; sleep 1000; true", "exec_somebody_elses", true);
        pid_t longer = start("echo; sleep 1000; true", EXECUTION "9", true);
        struct system_owners owners = { 0 };
        size_t n_children = 0;

        (void)state;
        system_owners_add(&owners, "exec_leader", "exec_leader", "running", leader, false);
        system_owners_add(&owners, EXECUTION, "proc_x", "lingering", 0, true);
        system_owners_add(&owners, "exec_job", "proc_1", "running", 0, false);
        CLEANUP(system_snapshot_free) struct system_snapshot *s = take(&owners);

        assert_string_equal(find(s, leader)->owner->execution_id, "exec_leader");
        assert_string_equal(find(s, marked)->owner->process_id, "proc_x");
        assert_string_equal(find(s, marked)->owner->status, "lingering");
        assert_string_equal(find(s, job)->owner->execution_id, "exec_job");
        assert_null(find(s, foreign)->owner);
        assert_null(find(s, longer)->owner);
        assert_null(find(s, getpid())->owner);
        assert_null(find(s, getppid())->owner);
        for (size_t i = 0; i < s->n; i++) {
                const struct system_process *p = &s->processes[i];

                if (p->parent != leader && p->parent != marked)
                        continue;
                assert_non_null(p->owner);
                assert_string_equal(p->owner->execution_id,
                                    p->parent == leader ? "exec_leader" : EXECUTION);
                n_children++;
        }
        assert_int_equal(n_children, 2);

        /* Groups, for the children. */
        (void)kill(-leader, SIGKILL);
        (void)kill(-marked, SIGKILL);
        (void)kill(-job, SIGKILL);
        (void)kill(-foreign, SIGKILL);
        (void)kill(-longer, SIGKILL);
        end(leader);
        end(marked);
        end(job);
        end(foreign);
        end(longer);
}

/* A number that somebody else has got means nothing. */
static void test_a_leader_that_is_gone(void **state)
{
        pid_t stranger = start("echo; sleep 1000; true", NULL, true);
        struct system_owners owners = { 0 };

        (void)state;
        system_owners_add(&owners, EXECUTION, EXECUTION, "lingering", stranger, true);
        CLEANUP(system_snapshot_free) struct system_snapshot *s = take(&owners);
        assert_null(find(s, stranger)->owner);
        (void)kill(-stranger, SIGKILL);
        end(stranger);
}

/* But its session is still its own. */
static void test_a_session_without_its_leader(void **state)
{
        pid_t leader = start("trap '' HUP; sleep 1000 & echo", NULL, true);
        struct system_owners owners = { 0 };
        size_t n = 0;

        (void)state;
        assert_int_equal(waitpid(leader, NULL, 0), leader);
        system_owners_add(&owners, EXECUTION, EXECUTION, "lingering", leader, true);
        CLEANUP(system_snapshot_free) struct system_snapshot *s = take(&owners);
        for (size_t i = 0; i < s->n; i++) {
                if (!s->processes[i].owner)
                        continue;
                assert_int_equal(s->processes[i].session, leader);
                (void)kill(s->processes[i].pid, SIGKILL);
                n++;
        }
        assert_int_equal(n, 1);
}

static void test_sorted_owners(void **state)
{
        struct system_owners o = { 0 };

        (void)state;
        assert_null(system_owners_by_leader(&o, 5));
        for (int i = 50; i > 0; i--) {
                system_owners_add(&o, "gone", "gone", "lingering", i, true);
                if (i % 2)
                        system_owners_add(&o, "here", "here", "running", i, false);
        }
        system_owners_add(&o, "unknown", "unknown", "running", 0, false);
        system_owners_sort(&o);
        for (int i = 1; i <= 50; i++)
                assert_string_equal(system_owners_by_leader(&o, i)->process_id,
                                    i % 2 ? "here" : "gone");
        assert_null(system_owners_by_leader(&o, 0));
        assert_null(system_owners_by_leader(&o, 51));
        system_owners_done(&o);
}

/* Numbers that changed hands while the list was made. */
static void test_a_circle_of_ancestors(void **state)
{
        struct system_process v[] = {
                { .pid = 2000000001, .parent = 2000000003, .state = 'Z' },
                { .pid = 2000000002, .parent = 2000000001, .state = 'Z' },
                { .pid = 2000000003, .parent = 2000000002, .state = 'Z' },
                { .pid = 2000000004, .parent = 2000000004, .state = 'Z' },
                { .pid = 2000000005, .parent = 2000000003, .state = 'Z' },
        };
        struct system_owners o = { 0 };

        (void)state;
        system_owners_add(&o, EXECUTION, EXECUTION, "running", 2000000006, false);
        system_owners_mark(&o, v, ARRAY_LEN(v));
        for (size_t i = 0; i < ARRAY_LEN(v); i++)
                assert_null(v[i].owner);
        v[3].session = 2000000006;
        v[0].parent = 2000000004;
        system_owners_mark(&o, v, ARRAY_LEN(v));
        for (size_t i = 0; i < ARRAY_LEN(v); i++)
                assert_ptr_equal(v[i].owner, &o.v[0]);
        system_owners_done(&o);
}

/* That is no reason to claim that processes are not there. */
static void test_out_of_descriptors(void **state)
{
        struct rlimit limit, none;
        int highest = dup(0);

        (void)state;
        (void)close(highest);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        for (rlim_t left = 0; left < 3;
             left++) { /* one for /proc, one for the process, one for its files */
                CLEANUP(system_cpu_free) struct system_cpu *cpu = system_cpu_new();
                CLEANUP(system_commands_free)
                struct system_commands *commands = system_commands_new();
                struct system_owners owners = { 0 };
                struct system_snapshot *s = NULL;
                struct error err = ERROR_INIT;

                none = (struct rlimit){ (rlim_t)highest + left, limit.rlim_max };
                assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
                system_owners_add(&owners, EXECUTION, EXECUTION, "running", 1, false);
                assert_int_equal(system_snapshot_take(cpu, commands, &owners, &s, &err), -EMFILE);
                assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
                assert_null(owners.v);
                assert_null(s);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ourselves),
                cmocka_unit_test(test_another_program),
                cmocka_unit_test(test_kept_commands),
                cmocka_unit_test(test_long_command_is_cut),
                cmocka_unit_test(test_owners),
                cmocka_unit_test(test_a_leader_that_is_gone),
                cmocka_unit_test(test_a_session_without_its_leader),
                cmocka_unit_test(test_sorted_owners),
                cmocka_unit_test(test_a_circle_of_ancestors),
                cmocka_unit_test(test_out_of_descriptors),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
