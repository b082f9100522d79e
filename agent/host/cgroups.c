/* SPDX-License-Identifier: Apache-2.0 */

/* A controller belongs to one hierarchy: to one of version 1, or else to the one of version 2. Which cgroup of it is
 * ours /proc/self/cgroup tells, but as a path from the root of our cgroup namespace, while what is mounted may be just
 * a part of the hierarchy: containers on older systems see the path of the whole machine and mounts of their part. */

#include "agent/host/cgroups.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/str.h"
#include "agent/host/mounts.h"
#include "agent/host/text.h"

static const char *const names[HOST_N_CONTROLLERS] = {
        [HOST_CPU] = "cpu",
        [HOST_CPUACCT] = "cpuacct",
        [HOST_MEMORY] = "memory",
};

static bool has_file(const char *dir, const char *name)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/%s", dir, name);

        return access(path, F_OK) == 0;
}

/* Our path in the hierarchy of @controller, or of version 2 for NULL; from malloc, or NULL. */
static char *find_path(const char *text, const char *controller)
{
        CLEANUP(mem_free) char *copy = xstrdup(text);
        char *rest = copy, *line;

        while ((line = host_text_line(&rest)) != NULL) { /* "4:cpu,cpuacct:/path", "0::/path" */
                char *list = strchr(line, ':');
                char *path = list ? strchr(list + 1, ':') : NULL;

                if (!path)
                        continue;
                *list++ = '\0';
                *path++ = '\0';
                if (controller ? host_mount_has(list, controller) : str_equal(line, "0"))
                        return xstrdup(path);
        }
        return NULL;
}

/* @path without @root, if it is below that. NULL: it is not. */
static const char *below(const char *path, const char *root)
{
        size_t size = strlen(root);

        if (str_equal(root, "/"))
                return path;
        if (strncmp(path, root, size) != 0 || (path[size] != '/' && path[size] != '\0'))
                return NULL;
        return path + size;
}

static char *own_path(const char *mount, const char *root, const char *path)
{
        const char *own = path ? below(path, root) : NULL;
        CLEANUP(mem_free) char *whole = NULL;

        /* "/.." is outside of our namespace; and what is not there we are not in. */
        if (!own || str_equal(own, "/") || strstr(own, "/.."))
                return xstrdup("");
        whole = xasprintf("%s%s", mount, own);
        return xstrdup(access(whole, F_OK) == 0 ? own : "");
}

/* The kernel makes some files only at the root of a hierarchy, others only below it. */
static bool is_part(const struct host_hierarchy *h, const char *root)
{
        if (!str_equal(root, "/"))
                return true;
        if (h->is_v2)
                return has_file(h->mount, "cgroup.type");
        return has_file(h->mount, "tasks") && !has_file(h->mount, "release_agent");
}

static void set(struct host_hierarchy *h, const char *prefix, const struct host_mount *m,
                const char *path)
{
        h->mount = xasprintf("%s%s", prefix, m->point);
        h->is_v2 = str_equal(m->type, "cgroup2");
        h->own = own_path(h->mount, m->root, path);
        h->is_container = is_part(h, m->root);
}

static void find(enum host_controller c, const char *root, const char *mounts, const char *paths,
                 struct host_hierarchy *ret)
{
        CLEANUP(mem_free) char *copy = xstrdup(mounts);
        CLEANUP(mem_free) char *v1_path = find_path(paths, names[c]);
        CLEANUP(mem_free) char *v2_path = find_path(paths, NULL);
        struct host_mount m, unified = { .point = NULL };
        char *rest = copy;

        while (host_mount_next(&rest, &m)) {
                if (str_equal(m.type, "cgroup2") && !unified.point) {
                        unified = m;
                } else if (str_equal(m.type, "cgroup") && host_mount_has(m.options, names[c])) {
                        set(ret, root, &m, v1_path);
                        return;
                }
        }
        if (unified.point)
                set(ret, root, &unified, v2_path);
}

/* See the header. */
void host_cgroups_find(const char *root, struct host_cgroups *ret)
{
        CLEANUP(buf_done) struct buf mounts = { 0 }, paths = { 0 };

        memset(ret, 0, sizeof(*ret));
        if (host_text_read(root, "/proc/self/mountinfo", &mounts) < 0 ||
            host_text_read(root, "/proc/self/cgroup", &paths) < 0)
                return;
        for (int c = 0; c < HOST_N_CONTROLLERS; c++)
                find((enum host_controller)c, root, mounts.data, paths.data, &ret->of[c]);
}

/* Leaves nothing behind. */
void host_cgroups_done(struct host_cgroups *c)
{
        for (int i = 0; i < HOST_N_CONTROLLERS; i++) {
                free(c->of[i].mount);
                free(c->of[i].own);
        }
        memset(c, 0, sizeof(*c));
}

/* See the header. */
char *host_cgroup_dir(const struct host_hierarchy *h, size_t up)
{
        CLEANUP(mem_free) char *own = h->mount ? xstrdup(h->own) : NULL;

        if (!own)
                return NULL;
        for (; up > 0; up--) {
                char *slash = strrchr(own, '/');

                if (!slash)
                        return NULL;
                *slash = '\0';
        }
        return xasprintf("%s%s", h->mount, own);
}
