/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A directory with the files that the kernel would make in a cgroup with all controllers, because not every machine
 * that runs the tests has these. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/fd.h"
#include "agent/base/path.h"
#include "proc/cgroup.h"
#include "proc/cgroup_file.h"

#define FAKE_CONTROLLERS ((unsigned)(CGROUP_MEMORY | CGROUP_TASKS | CGROUP_IO))

struct fake_leaf {
        char dir[32];
        int fd;
};

static inline void fake_leaf_write(const struct fake_leaf *f, const char *name, const char *text)
{
        int fd = openat(f->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
        close(fd);
}

static inline void fake_leaf_make(struct fake_leaf *f)
{
        static const char *const limits[] = { "memory.max", "memory.swap.max", "memory.oom.group",
                                              "pids.max" };

        memcpy(f->dir, "/tmp/test-leaf-XXXXXX", 22);
        assert_non_null(mkdtemp(f->dir));
        f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(f->fd >= 0);
        fake_leaf_write(f, "cgroup.events", "populated 0\nfrozen 0\n");
        fake_leaf_write(f, "cpu.stat",
                        "usage_usec 5000000\nuser_usec 3000000\nsystem_usec 2000000\n");
        fake_leaf_write(f, "memory.peak", "123456789\n");
        fake_leaf_write(f, "memory.events",
                        "low 0\nhigh 0\nmax 7\noom 1\noom_kill 0\noom_group_kill 9\n");
        fake_leaf_write(f, "pids.peak", "12\n");
        fake_leaf_write(f, "pids.events", "max 3\n");
        fake_leaf_write(f, "io.stat",
                        "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n"
                        "259:0 rbytes=1000 wbytes=1 rios=1 wios=2 dbytes=0 dios=0\n");
        for (size_t i = 0; i < ARRAY_LEN(limits); i++)
                fake_leaf_write(f, limits[i], "");
}

static inline void fake_leaf_expect(const struct fake_leaf *f, const char *name, const char *text)
{
        char content[64];

        assert_true(cgroup_file_read(f->fd, name, content, sizeof(content)) >= 0);
        assert_string_equal(content, text);
}

static inline void fake_leaf_done(struct fake_leaf *f)
{
        f->fd = fd_close(f->fd);
        assert_int_equal(path_remove_tree(f->dir), 0);
}
