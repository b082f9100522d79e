/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of config*.c share: a directory with a file in it, and loading from chosen sources. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/str.h"
#include "agent/config.h"

#define ARGS(...) ((char *const *)(const char *const[]){ __VA_ARGS__, NULL })
#define NO_ARGS   ((char *const *)(const char *const[]){ NULL })

struct fixture {
        char dir[32];
        char file[64];
};

static inline int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        snprintf(f->dir, sizeof(f->dir), "/tmp/test-config-XXXXXX");
        if (!mkdtemp(f->dir))
                return -1;
        snprintf(f->file, sizeof(f->file), "%s/agent.conf", f->dir);
        *state = f;
        return 0;
}

static inline int teardown(void **state)
{
        struct fixture *f = *state;

        (void)unlink(f->file);
        (void)rmdir(f->dir);
        free(f);
        return 0;
}

static inline void write_text(const char *path, const char *text)
{
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static inline int load(const struct fixture *f, char *const *envp, char *const *argv,
                       struct config **ret, struct error *err)
{
        const struct config_sources sources = {
                .argc = (int)strv_len(argv),
                .argv = argv,
                .envp = envp,
                .default_file = f->file,
        };

        return config_load_from(&sources, ret, err);
}

static inline struct config *load_ok(const struct fixture *f, char *const *envp, char *const *argv)
{
        struct config *c = NULL;
        struct error err = ERROR_INIT;

        if (load(f, envp, argv, &c, &err) < 0)
                fail_msg("%s", err.message);
        return c;
}

static inline void expect_error(const struct fixture *f, char *const *envp, char *const *argv,
                                const char *expected)
{
        struct config *c = NULL;
        struct error err = ERROR_INIT;

        assert_true(load(f, envp, argv, &c, &err) < 0);
        assert_null(c);
        assert_string_equal(err.message, expected);
}
