/* SPDX-License-Identifier: Apache-2.0 */

/* Only the clients' layers can be large, so they are looked up (a hash) while the others are
 * walked: each variable is appended once, and the work grows with the sum of the layers, not their product. */

#include "proc/environment.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* See the header. Without this Python would keep output in its own buffer until it ends, or is killed. */
const char *const environment_extra_default[] = { "PYTHONUNBUFFERED=1", NULL };

/* What speaks to the agent alone: its own options, what systemd tells a service, and what its shell knew about
 * itself. A '*' stands for any ending. */
static const char *const private_names[] = {
        "VM_AGENT_*",
        "NOTIFY_SOCKET",
        "LISTEN_*",
        "WATCHDOG_*",
        "MAINPID",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "CREDENTIALS_DIRECTORY",
        "RUNTIME_DIRECTORY",
        "STATE_DIRECTORY",
        "CACHE_DIRECTORY",
        "LOGS_DIRECTORY",
        "CONFIGURATION_DIRECTORY",
        "SYSTEMD_EXEC_PID",
        "MEMORY_PRESSURE_*",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
};

/* What depends on who the child is, not on who the agent is. */
static const char *const user_names[] = { "HOME", "USER", "LOGNAME", "SHELL" };

struct builder {
        char **v;
        size_t n;
        size_t capacity;
        size_t size;     /* as the kernel counts it: strings and pointers */
        json_t *clients; /* the global variables and the request's; or NULL */
        const char *const *extra;
};

/* The length of the name in "NAME=value"; 0 if there is none. */
static size_t name_size(const char *entry)
{
        const char *equals = strchr(entry, '=');

        return equals ? (size_t)(equals - entry) : 0;
}

static bool is_private(const char *entry)
{
        size_t size = name_size(entry);

        for (size_t i = 0; i < ARRAY_LEN(private_names); i++) {
                const char *name = private_names[i];
                size_t n = strlen(name);

                if (name[n - 1] == '*' ? strncmp(entry, name, n - 1) == 0
                                       : n == size && strncmp(entry, name, n) == 0)
                        return true;
        }
        return false;
}

static bool is_users(const char *entry)
{
        for (size_t i = 0; i < ARRAY_LEN(user_names); i++)
                if (strlen(user_names[i]) == name_size(entry) &&
                    strncmp(entry, user_names[i], name_size(entry)) == 0)
                        return true;
        return false;
}

static bool has_name(const char *const *entries, const char *name)
{
        size_t size = strlen(name);

        for (; entries && *entries; entries++)
                if (name_size(*entries) == size && strncmp(*entries, name, size) == 0)
                        return true;
        return false;
}

/* Takes @entry. */
static int add(struct builder *b, char *entry)
{
        size_t size = strlen(entry) + 1;

        if (b->n + 1 >= b->capacity) {
                b->capacity = b->capacity ? 2 * b->capacity : 64;
                b->v = xrealloc_array(b->v, b->capacity, sizeof(*b->v));
        }
        b->v[b->n++] = entry;
        b->v[b->n] = NULL;
        b->size += size + sizeof(char *);
        return b->size > LIMIT_ARGV_BYTES || size > LIMIT_ARG_BYTES + 1 ? -E2BIG : 0;
}

/* Adds "name=value" unless a stronger layer or something before has it. */
static int add_weak(struct builder *b, const char *name, const char *value, bool is_extra)
{
        if ((b->clients && json_object_get(b->clients, name)) ||
            (!is_extra && has_name(b->extra, name)) || environment_get(b->v, name))
                return 0;
        return add(b, xasprintf("%s=%s", name, value));
}

static int add_user(struct builder *b, const struct credentials *user)
{
        const char *const values[] = { user->home, user->name, user->name, user->shell };
        int r = 0;

        for (size_t i = 0; i < ARRAY_LEN(user_names) && r == 0; i++)
                r = add_weak(b, user_names[i], values[i], false);
        return r;
}

static int add_entries(struct builder *b, char *const *entries, bool is_extra)
{
        int r = 0;

        for (; entries && *entries && r == 0; entries++) {
                char *name;

                if (name_size(*entries) == 0 ||
                    (!is_extra && (is_private(*entries) || is_users(*entries))))
                        continue;
                name = xstrndup(*entries, name_size(*entries));
                r = add_weak(b, name, *entries + strlen(name) + 1, is_extra);
                free(name);
        }
        return r;
}

static int add_clients(struct builder *b)
{
        const char *name;
        json_t *value;
        int r = 0;

        json_object_foreach(b->clients, name, value) {
                if (*name == '\0' || strchr(name, '=') || !json_is_string(value))
                        return -EINVAL;
                r = add(b, xasprintf("%s=%s", name, json_string_value(value)));
                if (r < 0)
                        return r;
        }
        return 0;
}

static int build(struct builder *b, const struct credentials *user)
{
        int r;

        r = add_user(b, user);
        if (r == 0)
                r = add_entries(b, (char *const *)b->extra, true);
        if (r == 0)
                r = add_entries(b, environ, false);
        if (r == 0)
                r = add_weak(b, "PATH", DEFAULT_PATH, false);
        if (r == 0 && !environment_get(b->v, "LC_ALL") &&
            !(b->clients && json_object_get(b->clients, "LC_ALL")))
                r = add_weak(b, "LANG", "C.UTF-8", false);
        return r == 0 && b->clients ? add_clients(b) : r;
}

/* The two layers that clients set as one; a new reference, or NULL. */
static json_t *join(json_t *global, json_t *request)
{
        json_t *both;

        if (!request || json_object_size(request) == 0)
                return json_incref(global);
        if (!global || json_object_size(global) == 0)
                return json_incref(request);
        both = json_copy(global);
        (void)json_object_update(both, request);
        return both;
}

/* See the header. */
int environment_build(const struct credentials *user, json_t *global, json_t *request,
                      const char *const *extra, char ***ret)
{
        struct builder b = { .clients = join(global, request), .extra = extra };
        int r = build(&b, user);

        json_decref(b.clients);
        if (r < 0) {
                strv_free(b.v);
                return r;
        }
        *ret = b.v;
        return 0;
}

/* See the header. */
const char *environment_lookup(json_t *global, json_t *request, const char *name)
{
        const char *value = json_string_value(json_object_get(request, name));

        if (!value)
                value = json_string_value(json_object_get(global, name));
        return value ? value : getenv(name);
}

/* See the header. */
const char *environment_get(char *const *envp, const char *name)
{
        size_t size = strlen(name);

        for (; envp && *envp; envp++)
                if (name_size(*envp) == size && strncmp(*envp, name, size) == 0)
                        return *envp + size + 1;
        return NULL;
}
