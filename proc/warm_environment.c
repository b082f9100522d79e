/* SPDX-License-Identifier: Apache-2.0 */

/* What an interpreter looks at when it starts, and never again: variables, and which program it is. A process that
 * waits has looked at its own. All else of an environment is replaced when it gets its job. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/environment.h"
#include "proc/warm_private.h"

#define LOG_MODULE "warm"
#include "agent/base/log.h"

enum {
        FOR_PYTHON = 1 << POOL_PYTHON | 1 << POOL_SCIENTIFIC,
        FOR_SCIENCE = 1 << POOL_SCIENTIFIC,
        FOR_NODE = 1 << POOL_JAVASCRIPT,
        FOR_ALL = FOR_PYTHON | FOR_NODE,
};

/* The one table. A '*' stands for any ending. */
static const struct {
        const char *name;
        unsigned pools;
} variables[] = {
        { "LD_*", FOR_ALL },
        { "GLIBC_*", FOR_ALL },
        { "MALLOC_*", FOR_ALL },
        { "LC_*", FOR_ALL },
        { "LANG*", FOR_ALL },
        { "LOCPATH", FOR_ALL },
        { "OPENSSL_*", FOR_ALL },
        /* PYTHONPATH is looked at apart. */
        { "PYTHON*", FOR_PYTHON },
        { "PYENV_*", FOR_PYTHON },
        { "VIRTUAL_ENV", FOR_PYTHON },
        { "HOME", FOR_PYTHON },
        { "XDG_*", FOR_PYTHON },
        { "OPENBLAS_*", FOR_SCIENCE },
        { "GOTO_*", FOR_SCIENCE },
        { "OMP_*", FOR_SCIENCE },
        { "KMP_*", FOR_SCIENCE },
        { "MKL_*", FOR_SCIENCE },
        { "BLIS_*", FOR_SCIENCE },
        { "NUMEXPR_*", FOR_SCIENCE },
        { "NPY_*", FOR_SCIENCE },
        { "MPL*", FOR_SCIENCE },
        { "PANDAS*", FOR_SCIENCE },
        { "PLOTLY*", FOR_SCIENCE },
        { "NODE_*", FOR_NODE },
        { "UV_*", FOR_NODE },
        { "SSL_*", FOR_NODE },
        { "ICU_*", FOR_NODE },
        { "TZ", FOR_NODE },
};

#define PYTHON_PATH "PYTHONPATH="

static bool counts(enum pool_kind kind, const char *entry)
{
        size_t size = strcspn(entry, "=");

        if (str_has_prefix(entry, PYTHON_PATH))
                return false;
        for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
                const char *name = variables[i].name;
                size_t n = strlen(name);

                if (!(variables[i].pools & 1U << kind))
                        continue;
                if (name[n - 1] == '*' ? strncmp(entry, name, n - 1) == 0
                                       : n == size && strncmp(entry, name, n) == 0)
                        return true;
        }
        return false;
}

static bool has_entry(char *const *envp, const char *entry)
{
        for (; *envp; envp++)
                if (strcmp(*envp, entry) == 0)
                        return true;
        return false;
}

/* Whether all of @a that counts is the same in @b. */
static bool is_within(enum pool_kind kind, char *const *a, char *const *b)
{
        for (; *a; a++)
                if (counts(kind, *a) && !has_entry(b, *a))
                        return false;
        return true;
}

/* See the header. */
bool warm_environment_is_same(enum pool_kind kind, char *const *a, char *const *b)
{
        return is_within(kind, a, b) && is_within(kind, b, a);
}

/* The modules that an interpreter imports of its own accord. */
static bool has_customize(const char *dir, size_t size)
{
        static const char *const names[] = { "sitecustomize.py", "sitecustomize",
                                             "usercustomize.py", "usercustomize" };
        char path[4096];

        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                int n = snprintf(path, sizeof(path), "%.*s/%s", (int)size, dir, names[i]);

                if (n >= (int)sizeof(path) || access(path, F_OK) == 0)
                        return true;
        }
        return false;
}

/* PYTHONPATH must be what we make it (script.c): the directory of the execution, and then the agent's own. */
static bool is_our_python_path(char *const *envp, const char *cwd)
{
        const char *path = environment_get(envp, "PYTHONPATH"), *own = getenv("PYTHONPATH");
        size_t size = strlen(cwd);

        if (!path || strncmp(path, cwd, size) != 0)
                return false;
        if (own && *own ? path[size] != ':' || strcmp(path + size + 1, own) != 0
                        : path[size] != '\0')
                return false;
        while (*path) {
                size = strcspn(path, ":");
                if (has_customize(path, size))
                        return false;
                path += size + (path[size] == ':');
        }
        return true;
}

/* See the header. */
bool warm_environment_fits(enum pool_kind kind, char *const *pool, char *const *envp,
                           const char *cwd)
{
        return warm_environment_is_same(kind, pool, envp) &&
               (kind == POOL_JAVASCRIPT || is_our_python_path(envp, cwd));
}

/* Those of @global that decide how an interpreter starts, or which. The others a waiting process gets with its job;
 * what its /proc/PID/environ shows meanwhile should not outlive their removal. A new reference. */
static json_t *that_count(enum pool_kind kind, json_t *global)
{
        json_t *some = json_object();
        const char *name;
        json_t *value;

        json_object_foreach(global, name, value)
                if (str_equal(name, "PATH") || counts(kind, name))
                        (void)json_object_set(some, name, value);
        return some;
}

/* See the header. */
char **warm_environment_of_pool(enum pool_kind kind, const struct credentials *user, json_t *global)
{
        json_t *some = that_count(kind, global);
        char **built = NULL, **envp = NULL;
        int r = environment_build(user, some, NULL, environment_extra_default, &built);

        json_decref(some);
        if (r < 0)
                return NULL;
        /* Whoever waits is told its PYTHONPATH later. */
        for (char **e = built; *e; e++)
                if (!str_has_prefix(*e, PYTHON_PATH))
                        envp = strv_append(envp, xstrdup(*e));
        strv_free(built);
        return envp;
}

static bool is_script(const char *path)
{
        CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        char start[2] = "";

        return fd >= 0 && read(fd, start, sizeof(start)) == 2 && start[0] == '#' && start[1] == '!';
}

/* When what a script chooses was changed: pyenv's look into a file of its directory. */
static struct timespec time_of_choice(const struct warm_program *p)
{
        char path[sizeof(p->path) + 16];
        struct timespec never = { 0 };
        struct stat st;
        char *slash;

        (void)snprintf(path, sizeof(path), "%s", p->path);
        slash = strrchr(path, '/');
        (void)snprintf(slash, sizeof(path) - (size_t)(slash - path), "/../version");
        return stat(path, &st) == 0 ? st.st_mtim : never;
}

static bool try_program(struct warm_program *p)
{
        struct stat st;

        if (stat(p->path, &st) < 0 || !S_ISREG(st.st_mode) || access(p->path, X_OK) < 0)
                return false;
        p->dev = st.st_dev;
        p->ino = st.st_ino;
        p->size = st.st_size;
        p->mtime = st.st_mtim;
        return true;
}

/* See the header. */
int warm_program_find(enum pool_kind kind, char *const *envp, struct warm_program *ret)
{
        const char *name = kind == POOL_JAVASCRIPT ? "node" : "python3";
        const char *path = environment_get(envp, "PATH");

        *ret = (struct warm_program){ 0 };
        while (path && *path) {
                size_t size = strcspn(path, ":");
                int n = snprintf(ret->path, sizeof(ret->path), "%.*s/%s", (int)size, path, name);

                /* What is relative depends on the directory. */
                if (path[0] != '/' || n >= (int)sizeof(ret->path))
                        return -ENOENT;
                if (try_program(ret))
                        return 0;
                path += size + (path[size] == ':');
        }
        return -ENOENT;
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
        return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* See the header. */
void warm_program_look_into(struct warm_program *p)
{
        p->is_script = is_script(p->path);
        if (p->is_script)
                p->chosen = time_of_choice(p);
}

/* See the header. */
bool warm_program_is_same(const struct warm_program *known, const struct warm_program *found)
{
        struct timespec chosen;

        if (strcmp(known->path, found->path) != 0 || known->dev != found->dev ||
            known->ino != found->ino || known->size != found->size ||
            !is_same_time(&known->mtime, &found->mtime))
                return false;
        if (!known->is_script)
                return true;
        chosen = time_of_choice(known);
        return is_same_time(&known->chosen, &chosen);
}

/* See the header. */
bool warm_program_depends_on(const struct warm_program *p, const char *cwd)
{
        CLEANUP(mem_free) char *dir = xstrdup(cwd);
        char *slash = dir;

        while (p->is_script && slash) {
                CLEANUP(mem_free) char *path = xasprintf("%s/.python-version", dir);

                if (access(path, F_OK) == 0)
                        return true;
                slash = strrchr(dir, '/');
                if (slash)
                        *slash = '\0';
        }
        return false;
}

/* --- when the variables change --- */

/* See the header. A start costs a processor's time: it is not for every variable, and not more often than for any
 * other reason. A pool that was given up may have been so for one of them. */
void warm_pool_look_at_variables(struct warm_pool *pool)
{
        CLEANUP(strv_free) char **envp = NULL;
        struct warm_program found;

        if (!pool->envp && !pool->is_given_up) /* it was never started */
                return;
        envp = warm_environment_of_pool(pool->kind, supervisor_user(pool->warm->supervisor),
                                        pool->warm->variables);
        if (envp && pool->envp && warm_environment_is_same(pool->kind, pool->envp, envp) &&
            warm_program_find(pool->kind, envp, &found) == 0 &&
            str_equal(found.path, pool->program.path))
                return;
        log_debug("the global variables are others", "pool=%s", warm_pool_names[pool->kind]);
        pool->envp = strv_free(pool->envp);
        pool->is_given_up = false;
        pool->n_failures = 0;
        warm_pool_end(pool, WARM_MISS_ENVIRONMENT);
        warm_pool_kick(pool, 0);
}
