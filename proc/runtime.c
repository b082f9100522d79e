/* SPDX-License-Identifier: Apache-2.0 */

/* The table of languages. A new one is a row here, a member of enum language, and its names. */

#include "proc/runtime.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/runtime_private.h"

#define GO_ELSEWHERE \
        "/usr/local/go/bin/go" /* where go.dev's own archive goes, and PATH often does not */

const struct runtime runtimes[N_LANGUAGES] = {
        [LANGUAGE_PYTHON] = {
                .name = "python",
                .program = "python3",
                .file = "main.py",
                .argv = { "python3", ARG_DRIVER "/python/driver.py", ARG_RICH, ARG_SCRIPT },
                .python_path = true,
        },
        [LANGUAGE_JAVASCRIPT] = {
                .name = "javascript",
                .program = "node",
                .file = "main.js",
                .argv = { "node", ARG_DRIVER "/javascript/driver.cjs", ARG_RICH, ARG_SCRIPT },
        },
        [LANGUAGE_BASH] = {
                .name = "bash",
                .program = "bash",
                .file = "main.sh",
                .argv = { "bash", ARG_SCRIPT },
        },
        [LANGUAGE_GO] = {
                .name = "go",
                .program = "go",
                .elsewhere = GO_ELSEWHERE,
                .file = "main.go",
                .argv = { "/bin/sh", ARG_DRIVER "/go/driver.sh", ARG_DIR },
                .is_snippet = true,
        },
};

/* See the header. */
const struct enum_name language_names[] = {
        { "python", LANGUAGE_PYTHON },
        { "python3", LANGUAGE_PYTHON },
        { "py", LANGUAGE_PYTHON },
        { "javascript", LANGUAGE_JAVASCRIPT },
        { "js", LANGUAGE_JAVASCRIPT },
        { "node", LANGUAGE_JAVASCRIPT },
        { "nodejs", LANGUAGE_JAVASCRIPT },
        { "bash", LANGUAGE_BASH },
        { "sh", LANGUAGE_BASH },
        { "shell", LANGUAGE_BASH },
        { "go", LANGUAGE_GO },
        { "golang", LANGUAGE_GO },
        { NULL, 0 },
};

/* See the header. */
const char *language_name(enum language l)
{
        return runtimes[l].name;
}

static bool is_program(const char *path)
{
        struct stat st;

        return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Whether @name is in one of the directories of @path, and where. */
static bool is_in_path(const char *name, const char *path, char ret[PATH_MAX])
{
        while (path && *path) {
                size_t size = strcspn(path, ":");
                int n = snprintf(ret, PATH_MAX, "%.*s/%s", (int)size, path, name);

                if (size > 0 && n < PATH_MAX && is_program(ret))
                        return true;
                path += size + (path[size] == ':');
        }
        return false;
}

/* See the header. */
bool runtime_find(enum language l, const char *path, char ret[PATH_MAX])
{
        const struct runtime *rt = &runtimes[l];

        if (is_in_path(rt->program, path, ret))
                return true;
        if (!rt->elsewhere || !is_program(rt->elsewhere))
                return false;
        (void)snprintf(ret, PATH_MAX, "%s", rt->elsewhere);
        return true;
}

/* See the header. */
bool runtime_is_available(enum language l, const char *path, const char **ret_missing)
{
        char found[PATH_MAX];

        if (runtime_find(l, path, found))
                return true;
        if (ret_missing)
                *ret_missing = runtimes[l].program;
        return false;
}
