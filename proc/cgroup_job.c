/* SPDX-License-Identifier: Apache-2.0 */

/* The cgroups of background jobs: <mount>/<own>/vm-agent-jobs/<job>. The name of the directory has no pid in it, so
 * that it is nobody's leftover (remove_stale in cgroup.c), and the keepers themselves are not in it. It stays when it
 * is empty: the next agent needs it again. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "proc/cgroup.h"
#include "proc/cgroup_file.h"

#define JOBS "vm-agent-jobs"

#define DEATH_WAIT_MS 200

/* The directory of all jobs; made when needed. */
static int open_jobs(struct cgroup *c)
{
        int fd;

        if (mkdirat(cgroup_own_fd(c), JOBS, 0755) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(cgroup_own_fd(c), JOBS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        if (cgroup_controllers(c))
                cgroup_enable_controllers(fd);
        return fd;
}

/* See the header. */
int cgroup_job_path(struct cgroup *c, const char *name, char **ret_path, struct error *err)
{
        CLEANUP(fd_close) int jobs = open_jobs(c);
        const char *path = cgroup_path(c);

        if (jobs < 0)
                return error_set(err, jobs, "make cgroup " JOBS);
        *ret_path = xasprintf("%.*s/" JOBS "/%s", (int)(strrchr(path, '/') - path), path, name);
        return 0;
}

/* See the header. */
void cgroup_limit_job(struct cgroup *c, const char *path, const struct cgroup_limits *limits)
{
        CLEANUP(fd_close) int fd = -1;

        (void)fd_close(open_jobs(c)); /* gives it the controllers again */
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
                cgroup_set_limits(fd, limits);
}

/* See the header. */
void cgroup_remove_job(const char *path)
{
        const struct timespec pause = { .tv_nsec = 1000000 };
        CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return;
        (void)cgroup_file_write(fd, "cgroup.kill", "1");
        for (int waited = 0; waited < DEATH_WAIT_MS; waited++) {
                cgroup_remove_below(fd);
                if (rmdir(path) == 0)
                        return;
                (void)nanosleep(&pause, NULL);
        }
}
