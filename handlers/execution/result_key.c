/* SPDX-License-Identifier: Apache-2.0 */

/* Fields of the request that are known to be the same in several forms (names of languages, defaults) are brought into
 * one. All others count as they are, so that one that is added later, or that we do not know, can at worst make two
 * results of one.
 *
 * Files are read before the execution starts, and looked at again when it has ended: had somebody changed one in
 * between, nobody could say which one the program has seen. The second look is at time stamps alone, the time of the
 * last change of the inode among them, which programs cannot set. */

#include "handlers/execution/result_key.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/config.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/roots.h"
#include "agent/http/request.h"
#include "agent/http/router.h"
#include "handlers/execution/arguments.h"
#include "handlers/execution/run.h"
#include "handlers/workdir.h"
#include "proc/digest.h"
#include "proc/environment.h"
#include "proc/runtime.h"
#include "proc/supervisor.h"
#include "proc/variables.h"

#define BLOCK       (64 * KIB)
#define MAX_PYTHONS 16 /* versions in one directory */

static_assert(RESULTS_KEY == DIGEST_SIZE, "keys are digests");

/* See the header. */
bool result_key_init(struct result_key *k, const struct request *req, const struct run_spec *spec)
{
        const struct app *app = request_app(req);
        struct error err = ERROR_INIT;

        memset(k, 0, sizeof(*k));
        k->app = app;
        k->spec = spec;
        k->body = request_body(req);
        k->path = request_route(req)->path;
        k->timeout_ms = MIN(spec->args->timeout_ms, app->config->max_timeout_ms);
        if (!app->supervisor ||
            workdir_resolve(app->config, spec->args->workdir, &k->cwd, &err) < 0)
                return false;
        return environment_build(supervisor_user(app->supervisor), variables_get(app->variables),
                                 spec->args->env, environment_extra_default, &k->envp) == 0;
}

/* See the header. */
void result_key_done(struct result_key *k)
{
        k->cwd = mem_free(k->cwd);
        k->envp = strv_free(k->envp);
}

/* --- the request --- */

/* These are told in another form. */
static bool is_known(const char *name)
{
        static const char *const known[] = { "code",     "language",       "env",
                                             "workdir",  "working_dir",    "stdin",
                                             "encoding", "stdin_encoding", "timeout",
                                             "cache",    "cache_ttl",      "cache_inputs" };

        for (size_t i = 0; i < ARRAY_LEN(known); i++)
                if (str_equal(known[i], name))
                        return true;
        return false;
}

struct dump {
        struct digest *digest;
        uint64_t size;
};

static int on_text(const char *text, size_t size, void *arg)
{
        struct dump *dump = arg;

        digest_piece(dump->digest, text, size);
        dump->size += size;
        return 0;
}

static void add_others(struct digest *d, const json_t *body)
{
        const char *name;
        json_t *value;

        json_object_foreach((json_t *)body, name, value) {
                struct dump dump = { .digest = d };

                if (is_known(name))
                        continue;
                digest_text(d, name);
                (void)json_dump_callback(value, on_text, &dump, JSON_ENCODE_ANY | JSON_SORT_KEYS);
                digest_number(d, dump.size);
        }
        digest_text(d, NULL);
}

static int compare(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_environment(struct digest *d, char **envp)
{
        size_t n = 0;

        while (envp[n])
                n++;
        qsort(envp, n, sizeof(*envp), compare);
        digest_number(d, n);
        for (size_t i = 0; i < n; i++)
                digest_text(d, envp[i]);
}

static void add_request(struct digest *d, const struct result_key *k)
{
        const struct execution_args *args = k->spec->args;

        digest_text(d, k->path);
        digest_text(d, language_name(k->spec->language));
        digest_part(d, k->spec->code->data, k->spec->code->size);
        digest_text(d, k->cwd);
        add_environment(d, k->envp);
        digest_part(d, args->input.data, args->input.size);
        digest_number(d, (uint64_t)args->input_encoding);
        digest_number(d, (uint64_t)args->encoding);
        digest_number(d, k->timeout_ms);
        add_others(d, k->body);
}

/* --- the interpreter --- */

/* A package that is installed, upgraded or removed changes the directory that it is in. @prefix may be what a request
 * says (HOME): so it is a name, no pattern, and nobody has us look at more than a few. */
static void add_packages(struct digest *d, const char *prefix)
{
        static const char *const names[] = { "site-packages", "dist-packages" };
        CLEANUP(mem_free) char *lib = xasprintf("%s/lib", prefix);
        DIR *dir = opendir(lib);
        unsigned left = MAX_PYTHONS;
        struct dirent *e;

        if (!dir)
                return;
        while (left > 0 && (e = readdir(dir))) {
                if (!str_has_prefix(e->d_name, "python3"))
                        continue;
                left--;
                for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                        CLEANUP(mem_free)
                        char *path = xasprintf("%s/%s/%s", lib, e->d_name, names[i]);

                        digest_file(d, path);
                }
        }
        (void)closedir(dir);
}

/* "/usr" of "/usr/bin/python3"; "" of others. */
static void cut_program(char *path)
{
        for (unsigned i = 0; i < 2; i++) {
                char *slash = strrchr(path, '/');

                *(slash ? slash : path) = '\0';
        }
}

static void add_python(struct digest *d, const struct result_key *k, const char *program)
{
        const char *home = environment_get(k->envp, "HOME");
        CLEANUP(mem_free) char *own = home ? xasprintf("%s/.local", home) : NULL;
        char prefix[PATH_MAX], target[PATH_MAX];

        (void)snprintf(prefix, sizeof(prefix), "%s", program);
        cut_program(prefix); /* of a virtual environment, which links to the interpreter */
        add_packages(d, prefix);
        if (realpath(program, target)) {
                cut_program(target);
                if (!str_equal(target, prefix))
                        add_packages(d, target);
        }
        add_packages(d, "/usr/local");
        digest_file(d, "/usr/lib/python3/dist-packages"); /* Debian's own */
        if (own)
                add_packages(d, own);
}

/* As the user, who has said where to look. */
static void add_runtime(struct digest *d, const struct result_key *k)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        char program[PATH_MAX];

        if (files_scope_enter(&scope, &k->app->roots->user) < 0 ||
            !runtime_find(k->spec->language, environment_get(k->envp, "PATH"), program))
                return;
        digest_file(d, program);
        if (k->spec->language == LANGUAGE_PYTHON)
                add_python(d, k, program);
}

/* --- the files --- */

struct reading {
        struct digest *content; /* NULL: is not of interest */
        struct digest *stamp;
        uint64_t left; /* bytes that may be read */
        const atomic_bool *is_cancelled;
};

static int read_content(struct reading *r, const struct place *p)
{
        CLEANUP(fd_close) int fd = place_open(p, O_RDONLY);
        CLEANUP(mem_free) char *block = NULL;
        uint64_t size = 0;
        ssize_t n;

        if (fd < 0)
                return fd;
        block = try_alloc(BLOCK);
        if (!block)
                return -ENOMEM;
        for (;;) {
                if (atomic_load_explicit(r->is_cancelled, memory_order_relaxed))
                        return -ECANCELED;
                n = read(fd, block, BLOCK);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                if ((uint64_t)n > r->left)
                        return -EFBIG;
                r->left -= (uint64_t)n;
                digest_piece(r->content, block, (size_t)n);
                size += (uint64_t)n;
        }
        digest_number(r->content, size);
        return n < 0 ? -errno : 0;
}

static void add_stamp(struct digest *d, const struct stat *st)
{
        digest_number(d, st->st_dev);
        digest_number(d, st->st_ino);
        digest_number(d, (uint64_t)st->st_size);
        digest_number(d, (uint64_t)st->st_mtim.tv_sec);
        digest_number(d, (uint64_t)st->st_mtim.tv_nsec);
        digest_number(d, (uint64_t)st->st_ctim.tv_sec);
        digest_number(d, (uint64_t)st->st_ctim.tv_nsec);
}

static int read_place(struct reading *r, const struct place *p, const char *name, struct error *err)
{
        int e;

        if (S_ISDIR(p->st.st_mode))
                return files_fail_saying(err, FILES_E_IS_DIRECTORY,
                                         "This is a directory; name the files in it", name);
        if (!S_ISREG(p->st.st_mode))
                return files_fail(err, FILES_E_SPECIAL, name);
        add_stamp(r->stamp, &p->st);
        if (!r->content)
                return 0;
        digest_text(r->content, p->path);
        e = (uint64_t)p->st.st_size > r->left ? -EFBIG : read_content(r, p);
        if (e == -EFBIG)
                return error_set(err, FILES_E_TOO_LARGE,
                                 "all files together exceed %lu bytes: %.160s",
                                 (unsigned long)LIMIT_CACHE_INPUT_BYTES, name);
        return e < 0 ? files_fail_errno(err, e, name) : 0;
}

static int read_file(const struct result_key *k, struct reading *r, const char *name,
                     struct error *err)
{
        const struct roots *roots = k->app->roots;
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(place_done) struct place place = PLACE_INIT;
        CLEANUP(mem_free) char *path = NULL;
        int e;

        path = *name == '/' ? xstrdup(name) : xasprintf("%s/%s", k->cwd, name);
        e = roots_enter(roots, &scope, name, err);
        if (e == 0)
                e = place_find(roots, path, PLACE_FOLLOW, 0, &place, err);
        return e == 0 ? read_place(r, &place, name, err) : e;
}

/* Returns the number of the file that cannot be read, or -1. */
static int read_files(const struct result_key *k, struct reading *r, struct error *err)
{
        const json_t *names = k->spec->cache->inputs;
        size_t i;
        json_t *name;

        json_array_foreach(names, i, name) {
                if (read_file(k, r, json_string_value(name), err) != 0)
                        return (int)i;
        }
        return -1;
}

/* --- together --- */

static enum problem problem_of(int outcome)
{
        switch (outcome) {
        case FILES_E_NOT_ALLOWED:
                return PROBLEM_PATH_NOT_ALLOWED;
        case FILES_E_DENIED:
                return PROBLEM_PERMISSION_DENIED;
        case FILES_E_TOO_MANY_FILES:
                return PROBLEM_UNAVAILABLE;
        default:
                return PROBLEM_INVALID_REQUEST;
        }
}

static void blame(struct result_key *k, int i)
{
        k->result = error_wrap(&k->error, "cache_inputs[%d]", i);
        k->problem = problem_of(k->result);
        (void)snprintf(k->field, sizeof(k->field), "/cache_inputs/%d", i);
}

/* See the header. */
void result_key_cancel(struct result_key *k)
{
        atomic_store_explicit(&k->is_cancelled, true, memory_order_relaxed);
}

/* See the header. */
void result_key_compute(struct result_key *k)
{
        struct digest content, stamp;
        struct reading r = { .content = &content,
                             .stamp = &stamp,
                             .left = LIMIT_CACHE_INPUT_BYTES,
                             .is_cancelled = &k->is_cancelled };
        int failed;

        digest_init(&content);
        digest_init(&stamp);
        add_request(&content, k);
        add_runtime(&content, k);
        add_runtime(&stamp, k);
        failed = read_files(k, &r, &k->error);
        digest_end(&content, k->digest);
        digest_end(&stamp, k->stamp);
        if (failed >= 0)
                blame(k, failed);
}

/* See the header. */
bool result_key_is_current(const struct result_key *k)
{
        struct digest stamp;
        struct reading r = { .stamp = &stamp };
        struct error err = ERROR_INIT;
        uint8_t now[RESULTS_KEY];

        digest_init(&stamp);
        add_runtime(&stamp, k);
        if (read_files(k, &r, &err) >= 0)
                return false;
        digest_end(&stamp, now);
        return memcmp(now, k->stamp, RESULTS_KEY) == 0;
}
