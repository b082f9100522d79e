/* SPDX-License-Identifier: Apache-2.0 */

/* Source code on its way to an interpreter: a file in a directory of its own, which nobody but the user it runs
 * as can enter. Never an argument (the kernel allows 128 KiB) and never a part of a shell command. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/id.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "proc/driver_protocol.h"
#include "proc/environment.h"
#include "proc/go_key.h"
#include "proc/go_snippet.h"
#include "proc/runtime_private.h"

static int write_file(int dir_fd, const char *name, const char *data, size_t size,
                      const struct credentials *user, bool is_foreign)
{
        CLEANUP(fd_close) int fd = -1;

        fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 || (is_foreign && fchown(fd, user->uid, user->gid) < 0))
                return -errno;
        return fd_write_all(fd, data, size);
}

static int write_source(const struct runtime *rt, int dir_fd, const char *code, size_t size,
                        const struct credentials *user, struct script *s)
{
        bool is_foreign = user->uid != geteuid();
        CLEANUP(buf_done) struct buf completed;
        int r;

        buf_init(&completed, 0);
        if (rt->is_snippet) {
                r = go_snippet_complete(code, size, &completed);
                if (r < 0)
                        return r;
                code = completed.data;
                size = completed.size;
                s->is_keepable = go_key_source(code, size, s->source);
        }
        r = write_file(dir_fd, rt->file, code, size, user, is_foreign);
        /* Last: from here on the directory is the user's. */
        if (r == 0 && is_foreign && fchown(dir_fd, user->uid, user->gid) < 0)
                r = -errno;
        return r;
}

static char *expand(const char *arg, const struct runtime *rt, const char *dir,
                    const char *driver_dir)
{
        if (strcmp(arg, ARG_SCRIPT) == 0)
                return xasprintf("%s/%s", dir, rt->file);
        if (strcmp(arg, ARG_DIR) == 0)
                return xstrdup(dir);
        if (str_has_prefix(arg, ARG_DRIVER))
                return xasprintf("%s%s", driver_dir, arg + strlen(ARG_DRIVER));
        if (strcmp(arg, ARG_RICH) == 0)
                return xasprintf("--rich=%d", DRIVER_RICH_FD);
        return xstrdup(arg);
}

static void describe(const struct runtime *rt, struct script *s, const char *driver_dir,
                     const char *cwd, bool may_be_rich)
{
        const char *path = getenv("PYTHONPATH");

        for (size_t i = 0; i < RUNTIME_MAX_ARGS && rt->argv[i]; i++) {
                bool is_rich = strcmp(rt->argv[i], ARG_RICH) == 0;

                if (is_rich && !may_be_rich)
                        continue;
                s->has_rich |= is_rich;
                s->argv = strv_append(s->argv, expand(rt->argv[i], rt, s->dir, driver_dir));
        }

        for (const char *const *e = environment_extra_default; *e; e++)
                s->extra_env = strv_append(s->extra_env, xstrdup(*e));
        /* Python looks for modules beside the script; the user's are in the working directory. */
        if (rt->python_path)
                s->extra_env = strv_append(s->extra_env,
                                           xasprintf("PYTHONPATH=%s%s%s", cwd,
                                                     path && *path ? ":" : "", path ? path : ""));
}

static int make_dir(const char *root, const char *dir, struct error *err)
{
        if (mkdir(dir, 0700) == 0)
                return 0;
        /* Somebody tidied up: the directory above is made again. */
        if (errno == ENOENT && path_make_dirs(root, 0755, err) == 0 && mkdir(dir, 0700) == 0)
                return 0;
        /* An agent that was killed has left it. */
        if (errno == EEXIST && path_remove_tree(dir) == 0 && mkdir(dir, 0700) == 0)
                return 0;
        return error_set(err, -errno, "make a directory in %s", root);
}

/* See the header. */
int script_new(enum language l, const char *code, size_t size, const char *root, const char *name,
               const char *driver_dir, const struct credentials *user, const char *cwd,
               bool may_be_rich, struct script **ret, struct error *err)
{
        const struct runtime *rt = &runtimes[l];
        CLEANUP(script_free) struct script *s = NULL;
        CLEANUP(fd_close) int dir_fd = -1;
        char id[ID_SIZE];
        int r;

        s = xnew(struct script);
        s->dir = xasprintf("%s/%s", root, name ? name : id_new(id, "code_"));
        s->file = xasprintf("%s/%s", s->dir, rt->file);
        r = make_dir(root, s->dir, err);
        if (r < 0)
                return r;

        dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        r = dir_fd < 0 ? -errno : write_source(rt, dir_fd, code, size, user, s);
        if (r < 0)
                return error_set(err, r, "write %s", s->file);

        describe(rt, s, driver_dir, cwd, may_be_rich);
        *ret = STEAL(s);
        return 0;
}

/* See the header. */
void script_find_program(struct script *s, const struct credentials *user, const char *cwd,
                         char *const *envp)
{
        CLEANUP(mem_free) char *path = NULL;
        char name[DIGEST_HEX_SIZE];

        if (!s->is_keepable || !go_key(s->source, cwd, envp, name))
                return;
        path = go_kept_path(name, envp, user->uid);
        if (!path)
                return;
        if (go_is_kept(path, user->uid))
                s->kept = xstrdup(path);
        s->argv = strv_append(s->argv, STEAL(path));
}

/* See the header. */
struct script *script_forget(struct script *s)
{
        free(s->file);
        free(s->dir);
        free(s->kept);
        strv_free(s->argv);
        strv_free(s->extra_env);
        free(s);
        return NULL;
}

/* See the header. */
struct script *script_free(struct script *s)
{
        if (!s)
                return NULL;

        (void)path_remove_tree(s->dir); /* it may hold whatever the program left in it */
        return script_forget(s);
}

/* See the header. */
int script_free_quickly(struct script *s)
{
        (void)unlink(s->file); /* if that fails, so does rmdir */
        if (rmdir(s->dir) < 0 && errno != ENOENT)
                return -ENOTEMPTY;
        (void)script_forget(s);
        return 0;
}
