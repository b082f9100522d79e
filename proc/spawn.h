/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The one way to start a child: agent-shim, started in its own session (and, where there is one, inside its
 * cgroup leaf from its first instruction), sets limits, credentials and directory, and becomes the program.
 * The caller is blocked until the shim runs, tens of microseconds. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/base/error.h"
#include "proc/process_limits.h"

/* A user to run as, resolved once (the shim knows no names). */
struct credentials {
        uid_t uid;
        gid_t gid;
        gid_t *groups;
        unsigned n_groups;
        char *name;
        char *home;
        char *shell;
};

/* Looks up @name, or the agent's own user when NULL. -ENOENT: no such user. */
int credentials_new(const char *name, struct credentials **ret, struct error *err);
struct credentials *credentials_free(struct credentials *c);
DEFINE_CLEANUP(struct credentials *, credentials_free)

/* Descriptors of a child beyond the standard ones: driver_protocol.h says what for. In between is the status pipe. */
#define SPAWN_FIRST_EXTRA 4
#define SPAWN_EXTRA_FDS   2

struct spawn_spec {
        const char *shim;  /* path of agent-shim */
        char *const *argv; /* argv[0] is looked up in the child's PATH unless it has a slash */
        const char *
                first; /* to be executed instead, without arguments, if that is possible; or NULL */
        char *const *envp;
        const char *cwd;
        int fds[3];                     /* the child's stdin, stdout, stderr; -1: /dev/null */
        int extra_fds[SPAWN_EXTRA_FDS]; /* its descriptors from SPAWN_FIRST_EXTRA on, for drivers */
        unsigned n_extra;               /* how many of them there are */
        int cgroup_fd;                  /* O_PATH or O_RDONLY directory of the leaf; -1: none */
        bool set_tty;                   /* make fds[0] the controlling terminal */
        const struct credentials *user; /* NULL: keep the agent's */
        struct process_limits limits;   /* what no cgroup sees to */
        uint64_t max_files;             /* soft RLIMIT_NOFILE; 0 = the agent's */
};

/* What kept the program from starting. SPAWN_LOST: the process that had waited for it died before it read its job. */
enum spawn_stage {
        SPAWN_OK,
        SPAWN_CWD,
        SPAWN_USER,
        SPAWN_LIMITS,
        SPAWN_TTY,
        SPAWN_EXEC,
        SPAWN_LOST
};

struct spawn_failure {
        int32_t stage; /* enum spawn_stage */
        int32_t error; /* errno */
};

/* *ret_status is the read end of the shim's status pipe: EOF means that the program runs, a struct
 * spawn_failure that it does not. Non-blocking, owned by the caller. Returns a negative errno when not even
 * the shim could be started. */
int spawn(const struct spawn_spec *spec, pid_t *ret_pid, int *ret_status, struct error *err);

/* Reads what the shim said, without waiting: stage SPAWN_OK when the program ran (or still has to). Meant for
 * when the child has exited. */
void spawn_read_failure(int status_fd, struct spawn_failure *ret);
