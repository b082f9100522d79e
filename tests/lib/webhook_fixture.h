/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A receiver of webhooks (webhook_receiver.py) for a group of tests, and a queue on a loop for each of them. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/log.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/loop/loop.h"
#include "agent/webhook/webhook.h"
#include "tests/lib/loop_fixture.h"

#define HOOK_SECRET      "a secret"
#define HOOK_DEADLINE_MS 30000
#define HOOK_BODY        "{\"execution_id\":\"exec_1\",\"stdout\":\"\xc3\xa9\\n\"}"

/* --- the receiver --- */

static struct {
        pid_t pid;
        int stdin_fd;
        char root[64];
        char records[96];
        int port;
        int tls_port; /* 0: this machine has no openssl */
        char certificate[128];
} receiver;

static inline void receiver_exec(int in, int out)
{
        const char *source = getenv("TEST_SOURCE_ROOT");
        CLEANUP(mem_free) char *script = xasprintf("%s/tests/lib/webhook_receiver.py", source);
        CLEANUP(mem_free) char *chapter = xasprintf("%s/docs/guide/webhooks.md", source);

        (void)dup2(in, 0);
        (void)dup2(out, 1);
        execlp("python3", "python3", "-B", script, receiver.records, "--example", chapter,
               "--secret", HOOK_SECRET, NULL);
        _exit(127);
}

static inline int receiver_start(void **state)
{
        json_auto_t *ports = NULL;
        const char *certificate = NULL;
        int in[2], out[2];
        char line[512];
        FILE *file;

        (void)state;
        log_init(LOG_LEVEL_ERROR, false);
        snprintf(receiver.root, sizeof(receiver.root), "/tmp/test-webhook-XXXXXX");
        assert_non_null(mkdtemp(receiver.root));
        snprintf(receiver.records, sizeof(receiver.records), "%s/records", receiver.root);
        assert_int_equal(pipe2(in, O_CLOEXEC), 0);
        assert_int_equal(pipe2(out, O_CLOEXEC), 0);
        receiver.pid = fork();
        if (receiver.pid == 0)
                receiver_exec(in[0], out[1]);
        assert_true(receiver.pid > 0);
        fd_close(in[0]);
        fd_close(out[1]);
        receiver.stdin_fd = in[1];

        file = fdopen(out[0], "re");
        assert_non_null(fgets(line, sizeof(line), file));
        fclose(file);
        ports = json_loads(line, 0, NULL);
        assert_int_equal(json_unpack(ports, "{s:i}", "http", &receiver.port), 0);
        if (json_unpack(ports, "{s:i, s:s}", "https", &receiver.tls_port, "certificate",
                        &certificate) == 0)
                snprintf(receiver.certificate, sizeof(receiver.certificate), "%s", certificate);
        return 0;
}

static inline int receiver_stop(void **state)
{
        int status;

        (void)state;
        fd_close(receiver.stdin_fd);
        assert_int_equal(waitpid(receiver.pid, &status, 0), receiver.pid);
        assert_int_equal(status, 0);
        return path_remove_tree(receiver.root);
}

/* All that came, in order; to be released. */
static inline json_t *receiver_records(void)
{
        json_t *all = json_array();
        char *line = NULL;
        size_t size = 0;
        FILE *file = fopen(receiver.records, "re");

        while (file && getline(&line, &size, file) > 0) {
                json_t *record = json_loads(line, 0, NULL);

                if (record)
                        json_array_append_new(all, record);
        }
        free(line);
        if (file)
                fclose(file);
        return all;
}

/* The number of requests for delivery @id; *ret_last, if wanted, is a new reference to the last. */
static inline unsigned receiver_count(const char *id, json_t **ret_last)
{
        json_auto_t *all = receiver_records();
        json_t *record;
        unsigned n = 0;
        size_t i;

        if (ret_last)
                *ret_last = NULL;
        json_array_foreach(all, i, record) {
                if (!str_equal(json_string_value(json_object_get(record, "delivery")), id))
                        continue;
                n++;
                if (ret_last) {
                        json_decref(*ret_last);
                        *ret_last = json_incref(record);
                }
        }
        return n;
}

static inline const char *record_header(const json_t *record, const char *name)
{
        return json_string_value(json_object_get(json_object_get(record, "headers"), name));
}

/* --- a queue --- */

struct hook {
        char id[80];
        enum webhook_status status;
        unsigned attempts;
        unsigned last_status;
        char last_error[256];
        int64_t next_attempt_at_ms;
        int64_t delivered_at_ms;
        unsigned n_changes;
        bool is_queued;
        int queue_result;
        struct error queue_error;
};

struct hooks {
        struct loop *loop;
        struct webhooks *w;
        struct webhooks_options options;
        char dir[96];
        struct hook hooks[256];
        unsigned n_hooks;
        bool is_closed;
};

static inline struct hook *hooks_find(struct hooks *h, const char *id)
{
        struct hook *hook;

        for (unsigned i = 0; i < h->n_hooks; i++)
                if (str_equal(h->hooks[i].id, id))
                        return &h->hooks[i];
        assert_true(h->n_hooks < ARRAY_LEN(h->hooks));
        hook = &h->hooks[h->n_hooks++];
        *hook = (struct hook){ .n_changes = 0 };
        snprintf(hook->id, sizeof(hook->id), "%s", id);
        return hook;
}

static inline bool hook_is_final(const struct hook *hook)
{
        return hook->n_changes > 0 && hook->status >= WEBHOOK_DELIVERED;
}

/* pending → delivering → pending … → final; nothing else, and nothing after that. */
static inline void hooks_on_change(void *arg, const struct webhook_state *s)
{
        struct hook *hook = hooks_find(arg, s->id);

        assert_false(hook_is_final(hook));
        if (hook->n_changes == 0 || hook->status == WEBHOOK_DELIVERING)
                assert_true(s->status != WEBHOOK_DELIVERING || hook->n_changes == 0);
        else
                assert_int_equal(s->status, WEBHOOK_DELIVERING);
        assert_true(s->attempts >= hook->attempts);
        assert_int_equal(s->delivered_at_ms != 0, s->status == WEBHOOK_DELIVERED);
        assert_int_equal(s->next_attempt_at_ms != 0, s->status == WEBHOOK_PENDING);

        hook->n_changes++;
        hook->status = s->status;
        hook->attempts = s->attempts;
        hook->last_status = s->last_status;
        hook->next_attempt_at_ms = s->next_attempt_at_ms;
        hook->delivered_at_ms = s->delivered_at_ms;
        snprintf(hook->last_error, sizeof(hook->last_error), "%s", s->last_error);
}

static inline struct webhooks_options hooks_options(struct hooks *h)
{
        return (struct webhooks_options){
                .state_dir = h->dir,
                .connect_timeout_ms = 5000,
                .timeout_ms = 10000,
                .max_tries = 3,
                .retry_first_ms = 20,
                .retry_max_ms = 100,
                .max_sending = 8,
                .max_queued = 100,
                .deny_metadata = true,
                .on_change = hooks_on_change,
                .arg = h,
        };
}

static inline void hooks_open(struct hooks *h)
{
        struct error err = ERROR_INIT;

        h->is_closed = false;
        if (webhooks_new(h->loop, &h->options, &h->w, &err) < 0)
                fail_msg("%s", err.message);
}

static inline void hooks_on_closed(void *arg)
{
        ((struct hooks *)arg)->is_closed = true;
}

static inline int hooks_is_closed(void *arg)
{
        return ((struct hooks *)arg)->is_closed;
}

static inline void hooks_close(struct hooks *h)
{
        webhooks_close(h->w, hooks_on_closed, h);
        assert_false(h->is_closed);
        assert_true(loop_run_until(h->loop, hooks_is_closed, h, HOOK_DEADLINE_MS));
        h->w = webhooks_free(h->w);
}

static inline int hooks_setup(void **state)
{
        struct hooks *h = xnew(struct hooks);

        loop_setup((void **)&h->loop);
        snprintf(h->dir, sizeof(h->dir), "%s/state-XXXXXX", receiver.root);
        assert_non_null(mkdtemp(h->dir));
        h->options = hooks_options(h);
        hooks_open(h);
        *state = h;
        return 0;
}

static inline int hooks_teardown(void **state)
{
        struct hooks *h = *state;

        if (h->w)
                hooks_close(h);
        loop_teardown((void **)&h->loop);
        assert_int_equal(path_remove_tree(h->dir), 0);
        free(h);
        return 0;
}

#define HOOK_TEST(test) cmocka_unit_test_setup_teardown(test, hooks_setup, hooks_teardown)

static inline void hooks_reconfigure(struct hooks *h)
{
        struct error err = ERROR_INIT;

        if (webhooks_configure(h->w, &h->options, &err) < 0)
                fail_msg("%s", err.message);
}

static inline void hook_on_queued(void *arg, int result, const struct error *err)
{
        struct hook *hook = arg;

        assert_false(hook->is_queued);
        assert_int_equal(hook->n_changes, 0);
        assert_int_equal(result < 0, err != NULL);
        hook->is_queued = true;
        hook->queue_result = result;
        if (err)
                hook->queue_error = *err;
}

/* Queues a body for any URL; it must be accepted. */
static inline struct hook *hooks_queue(struct hooks *h, const char *id, const char *url,
                                       const char *secret, const json_t *headers, const char *body)
{
        struct hook *hook = hooks_find(h, id);
        struct error err = ERROR_INIT;
        const struct webhook spec = {
                .id = id,
                .url = url,
                .secret = secret,
                .headers = headers,
                .body = xstrdup(body),
                .body_size = strlen(body),
        };

        if (webhook_queue(h->w, &spec, hook_on_queued, hook, &err) < 0)
                fail_msg("%s: %s", url, err.message);
        return hook;
}

/* The same for a path of the receiver. */
static inline struct hook *hooks_post(struct hooks *h, const char *id, const char *path)
{
        char url[256];

        snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", receiver.port, path);
        return hooks_queue(h, id, url, NULL, NULL, HOOK_BODY);
}

static inline int hooks_is_empty(void *arg)
{
        return webhooks_n_queued(((struct hooks *)arg)->w) == 0;
}

/* Runs until every delivery is final and its file is gone. */
static inline void hooks_run(struct hooks *h)
{
        if (!loop_run_until(h->loop, hooks_is_empty, h, HOOK_DEADLINE_MS))
                fail_msg("%u deliveries are not final", webhooks_n_queued(h->w));
}

static inline void expect_hook(const struct hook *hook, enum webhook_status status,
                               unsigned attempts, unsigned last_status, const char *error)
{
        if (hook->status != status || hook->attempts != attempts ||
            hook->last_status != last_status || !strstr(hook->last_error, error))
                fail_msg("%s: %s after %u attempts, %u, %s", hook->id,
                         webhook_status_name(hook->status), hook->attempts, hook->last_status,
                         hook->last_error);
}
