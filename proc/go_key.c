/* SPDX-License-Identifier: Apache-2.0 */

/* Without a module there is nothing that a program can be made of but its one file and the standard library, which
 * belongs to the toolchain. The exception is C: such programs are left to Go's own cache, which knows about headers.
 *
 * A kept program is started at once, without the driver: a shell takes a third of the time that there is. The driver
 * gives complete programs one and the same time stamp, so that one that was written to later is known by another. Its
 * last use is its time of access.
 *
 * What can be asked of the toolchain alone (`go env -w` may have changed any of this) is asked by the driver, before it
 * keeps a program. */

#include "proc/go_key.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/environment.h"
#include "proc/runtime.h"

#define KEPT_TIME 946684800 /* 2000-01-01, as the driver says it */

/* What the driver adds to PATH, and how it builds. */
#define MORE_PATH "/usr/local/bin:/usr/bin:/bin:/usr/local/go/bin"
#define BUILD     "1 -trimpath -ldflags=-s"

/* Directories that are looked at: each costs the more the deeper it is, and the loop waits. */
#define MAX_DEPTH 64

/* See the header. */
bool go_key_source(const char *code, size_t size, uint8_t ret[DIGEST_SIZE])
{
        struct digest d;

        if (memmem(code, size, "\"C\"", 3) || memmem(code, size, "`C`", 3))
                return false;
        digest_init(&d);
        digest_part(&d, code, size);
        digest_end(&d, ret);
        return true;
}

/* Where @dir is without symbolic links, as the toolchain will see it, in one look. */
static bool find_directory(const char *dir, char *ret, size_t size)
{
        CLEANUP(fd_close) int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        char link[64];
        ssize_t n;

        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = fd < 0 ? -1 : readlink(link, ret, size);
        if (n <= 0 || (size_t)n == size || ret[0] != '/')
                return false;
        ret[n] = '\0';
        return true;
}

/* Whether there is one of the files that make a directory part of something larger in @dir, or above it; or too many
 * directories to look at. */
static bool is_in_module(const char *dir)
{
        char path[PATH_MAX], *end;

        if (!find_directory(dir, path, sizeof(path) - sizeof("/go.work")))
                return true;
        end = path + strlen(path);
        for (unsigned n = 0; n < MAX_DEPTH; n++) {
                memcpy(end, "/go.mod", sizeof("/go.mod"));
                if (access(path, F_OK) == 0)
                        return true;
                memcpy(end, "/go.work", sizeof("/go.work"));
                if (access(path, F_OK) == 0)
                        return true;
                if (end == path)
                        return false;
                *end = '\0';
                end = strrchr(path, '/');
        }
        return true;
}

static bool is_one_of(const char *value, const char *harmless)
{
        return !value || !*value || str_equal(value, harmless);
}

static bool is_of_interest(const char *entry)
{
        static const char *const prefixes[] = { "GO",        "CGO_",     "CC=",        "CXX=",
                                                "AR=",       "FC=",      "CFLAGS=",    "CPPFLAGS=",
                                                "CXXFLAGS=", "LDFLAGS=", "PKG_CONFIG", "GCCGO" };

        for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
                if (str_has_prefix(entry, prefixes[i]))
                        return true;
        return false;
}

static int compare(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_variables(struct digest *d, char *const *envp)
{
        const char **entries = NULL;
        size_t n = 0;

        for (; *envp; envp++) {
                if (!is_of_interest(*envp))
                        continue;
                entries = xrealloc_array(entries, n + 1, sizeof(*entries));
                entries[n++] = *envp;
        }
        if (n > 0)
                qsort(entries, n, sizeof(*entries), compare);
        digest_number(d, n);
        for (size_t i = 0; i < n; i++)
                digest_text(d, entries[i]);
        free(entries);
}

/* "/usr/local/go" of "/usr/local/go/bin/go", unless GOROOT says otherwise. NULL: nowhere. */
static char *find_root(const char *program, char *const *envp)
{
        const char *root = environment_get(envp, "GOROOT");
        char target[PATH_MAX];

        if (root && *root)
                return xstrdup(root);
        if (!realpath(program, target))
                return NULL;
        for (unsigned i = 0; i < 2; i++) {
                char *slash = strrchr(target, '/');

                if (!slash)
                        return NULL;
                *slash = '\0';
        }
        return xstrdup(target);
}

/* False: it is not known which toolchain that is. Programs that manage versions put a wrapper into PATH, which is the
 * same for all of them. */
static bool add_root(struct digest *d, const char *program, char *const *envp)
{
        CLEANUP(mem_free) char *root = find_root(program, envp);
        CLEANUP(mem_free) char *version = root ? xasprintf("%s/VERSION", root) : NULL;
        CLEANUP(mem_free) char *settings = root ? xasprintf("%s/go.env", root) : NULL;

        if (!root || access(version, F_OK) < 0)
                return false;
        digest_file(d, version);
        digest_file(d, settings);
        return true;
}

/* What `go env -w` has written. */
static void add_settings(struct digest *d, char *const *envp)
{
        const char *file = environment_get(envp, "GOENV"), *home = environment_get(envp, "HOME");
        const char *config = environment_get(envp, "XDG_CONFIG_HOME");
        CLEANUP(mem_free) char *path = NULL;

        if (file && *file)
                path = xstrdup(file);
        else if (config && *config)
                path = xasprintf("%s/go/env", config);
        else
                path = xasprintf("%s/.config/go/env", home ? home : "");
        digest_file(d, path);
}

static bool find_program(char *const *envp, char ret[PATH_MAX])
{
        const char *path = environment_get(envp, "PATH");
        CLEANUP(mem_free)
        char *all = xasprintf("%s%s" MORE_PATH, path ? path : "", path && *path ? ":" : "");

        return runtime_find(LANGUAGE_GO, all, ret);
}

/* See the header. */
bool go_key(const uint8_t source[DIGEST_SIZE], const char *cwd, char *const *envp,
            char ret[DIGEST_HEX_SIZE])
{
        char program[PATH_MAX];
        uint8_t key[DIGEST_SIZE];
        struct digest d;

        if (!is_one_of(environment_get(envp, "GO111MODULE"), "on") ||
            !is_one_of(environment_get(envp, "GOWORK"), "off") || is_in_module(cwd) ||
            !find_program(envp, program))
                return false;
        digest_init(&d);
        digest_text(&d, BUILD);
        digest_part(&d, source, DIGEST_SIZE);
        digest_file(&d, program);
        if (!add_root(&d, program, envp))
                return false;
        add_settings(&d, envp);
        add_variables(&d, envp);
        digest_end(&d, key);
        digest_hex(key, ret);
        return true;
}

static bool is_directory(const char *path, uid_t uid)
{
        struct stat st;

        return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == uid;
}

/* See the header. */
char *go_kept_path(const char *name, char *const *envp, uid_t uid)
{
        const char *cache = environment_get(envp, "XDG_CACHE_HOME");
        const char *home = environment_get(envp, "HOME"), *tmp = environment_get(envp, "TMPDIR");
        CLEANUP(mem_free) char *own = NULL;
        struct stat st;

        if (cache && *cache == '/')
                return xasprintf("%s/vm-agent/go/%s", cache, name);
        if (home && *home == '/' && stat(home, &st) == 0 && S_ISDIR(st.st_mode))
                return xasprintf("%s/.cache/vm-agent/go/%s", home, name);
        own = xasprintf("%s/go-%u", tmp && *tmp == '/' ? tmp : "/tmp", (unsigned)uid);
        /* Anybody may make it; the first time the driver does. */
        return is_directory(own, uid) ? xasprintf("%s/vm-agent/go/%s", own, name) : NULL;
}

/* See the header. Whoever can lead @path elsewhere is the one whose program it is. */
bool go_is_kept(const char *path, uid_t uid)
{
        static const struct timespec used[] = { { .tv_nsec = UTIME_NOW },
                                                { .tv_nsec = UTIME_OMIT } };
        CLEANUP(mem_free) char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
        struct stat st;

        if (!is_directory(dir, uid) || lstat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
            st.st_uid != uid || !(st.st_mode & S_IXUSR) || st.st_size == 0 ||
            st.st_mtim.tv_sec != KEPT_TIME || st.st_mtim.tv_nsec != 0)
                return false;
        (void)utimensat(AT_FDCWD, path, used, AT_SYMLINK_NOFOLLOW); /* it goes a little earlier */
        return true;
}
