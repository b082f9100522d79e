/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The languages: names, aliases, and how a piece of source becomes a command. */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/base/error.h"
#include "agent/json/field.h"
#include "proc/digest.h"
#include "proc/spawn.h"

enum language { LANGUAGE_PYTHON, LANGUAGE_JAVASCRIPT, LANGUAGE_BASH, LANGUAGE_GO, N_LANGUAGES };

/* python, python3, py, javascript, js, node, nodejs, bash, sh, shell, go, golang: for F_ENUM. */
extern const struct enum_name language_names[];
const char *language_name(enum language l);

/* A program on disk, ready to be started. */
struct script {
        char *file;       /* the source */
        char *dir;        /* its own directory */
        char **argv;      /* for process_options */
        char *kept;       /* the same for its member first, or NULL */
        char **extra_env; /* for environment_build */
        bool is_keepable; /* what is built of it may be kept: see script_find_program */
        uint8_t source[DIGEST_SIZE];
        bool has_rich; /* it wants the descriptor for rich output */
};

/* Where the language's interpreter is: the first in @path (a PATH value), or where it may be elsewhere. */
bool runtime_find(enum language l, const char *path, char ret[PATH_MAX]);
/* Whether the language's interpreter is in @path (a PATH value); the executable's name in *ret_missing if
 * not (a constant). */
bool runtime_is_available(enum language l, const char *path, const char **ret_missing);

/* Writes @code to a fresh directory @name (what has that name is removed first; NULL: a name of its own) in @root,
 * readable for @user, and says how to run it in @cwd. @driver_dir holds the drivers (proc/runtimes/, installed).
 * @may_be_rich: the process will get a descriptor for rich output, if the script has_rich. */
int script_new(enum language l, const char *code, size_t size, const char *root, const char *name,
               const char *driver_dir, const struct credentials *user, const char *cwd,
               bool may_be_rich, struct script **ret, struct error *err);
/* If what is built of it is the same each time, the driver is told where to keep it; and if it was kept, that is what
 * will be started first. @cwd and @envp are what it will be started with. */
void script_find_program(struct script *s, const struct credentials *user, const char *cwd,
                         char *const *envp);
/* Removes the directory too, with all that is in it. */
struct script *script_free(struct script *s);
/* Does the same if there is nothing but the source in it; else -ENOTEMPTY, and nothing is freed. */
int script_free_quickly(struct script *s);
/* Leaves the directory to somebody else. Returns NULL. */
struct script *script_forget(struct script *s);
DEFINE_CLEANUP(struct script *, script_free)
