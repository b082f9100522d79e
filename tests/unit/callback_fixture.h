/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A job's directory with logs of what it wrote, and the body of its callback. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/path.h"
#include "agent/json/base64.h"
#include "handlers/jobs/callback_body.h"
#include "proc/joblog.h"

#define CAPACITY (8 * MIB)

struct fixture {
        char dir[40];
        struct job_status result;
        struct callback_facts facts;
};

static inline int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        memcpy(f->dir, "/tmp/test-callback-XXXXXX", 26);
        assert_non_null(mkdtemp(f->dir));
        f->result = (struct job_status){ .reason = KEEPER_EXIT, .duration_us = 1250000 };
        f->facts = (struct callback_facts){
                .execution_id = "exec_1",
                .process_id = "proc_1",
                .phase = PHASE_COMPLETED,
                .result = &f->result,
                .started_ms = 1700000000123,
                .ended_ms = 1700000001373,
        };
        *state = f;
        return 0;
}

static inline int teardown(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(path_remove_tree(f->dir), 0);
        free(f);
        return 0;
}

static inline void write_log(const struct fixture *f, const char *name, const void *data,
                             size_t size, uint64_t capacity)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/%s", f->dir, name);
        CLEANUP(fd_close) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        struct joblog_writer w;

        assert_true(fd >= 0);
        assert_int_equal(joblog_writer_init(&w, fd, capacity), 0);
        joblog_write(&w, data, size);
}

static inline void write_logs(const struct fixture *f, const char *out, const char *err)
{
        write_log(f, JOBLOG_STDOUT, out, strlen(out), CAPACITY);
        write_log(f, JOBLOG_STDERR, err, strlen(err), CAPACITY);
}

/* Overwritten by the next call. */
static inline const struct callback_limits *limits_of(size_t max_text)
{
        static struct callback_limits limits;

        limits = (struct callback_limits){ .max_text = max_text, .rich = { 16 * MIB, 100 } };
        return &limits;
}

/* The body, parsed; *ret_size is that of its text. */
static inline json_t *make(const struct fixture *f, size_t max_text, size_t *ret_size)
{
        struct error err = ERROR_INIT;
        json_error_t where;
        char *body = NULL;
        size_t size = 0;
        json_t *json;

        if (callback_body_make(callback_fields(&f->facts), f->dir, f->facts.is_base64,
                               limits_of(max_text), &body, &size, &err) < 0)
                fail_msg("%s", err.message);
        json = json_loadb(body, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
        if (!json)
                fail_msg("no JSON: %s at %d", where.text, where.position);
        free(body);
        if (ret_size)
                *ret_size = size;
        return json;
}

static inline const char *text_of(const json_t *json, const char *key)
{
        return json_string_value(json_object_get(json, key));
}

static inline json_int_t integer_of(const json_t *json, const char *key)
{
        assert_true(json_is_integer(json_object_get(json, key)));
        return json_integer_value(json_object_get(json, key));
}

static inline bool bool_of(const json_t *json, const char *key)
{
        assert_true(json_is_boolean(json_object_get(json, key)));
        return json_boolean_value(json_object_get(json, key));
}

static inline void expect_null(const json_t *json, const char *key)
{
        assert_true(json_is_null(json_object_get(json, key)));
}
