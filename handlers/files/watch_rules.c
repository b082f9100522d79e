/* SPDX-License-Identifier: Apache-2.0 */

/* What the engine asks on its worker threads, one at a time for each watch: whose rights count, and what is left out.
 * By default the content of directories that tools fill is not told, but the directories themselves are. A client's
 * patterns take the place of that; what fits one is as if it did not exist. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"
#include "agent/base/str.h"
#include "agent/files/glob.h"
#include "agent/files/roots.h"
#include "agent/files/user.h"
#include "handlers/files/watch_private.h"

struct rule {
        struct glob *glob;
        bool wants_path; /* relative to the root; otherwise the last name, wherever it is */
        bool wants_directory;
};

struct watch_rules {
        const struct roots *roots;
        struct files_scope scope;
        struct rule *rules;
        size_t n_rules;
        bool is_default;
        bool is_top; /* the root is "/" */
        char *only;  /* the file that is watched, or NULL */
};

static bool fits(const struct rule *rule, const char *path, const char *name, bool is_directory)
{
        if (rule->wants_directory && !is_directory)
                return false;
        return glob_match(rule->glob, rule->wants_path ? path : name);
}

static bool is_filled_by_tools(const char *name)
{
        return str_equal(name, ".git") || str_equal(name, "node_modules") ||
               str_equal(name, "__pycache__");
}

static enum watch_interest interest(const char *path, bool is_directory, void *arg)
{
        const struct watch_rules *r = arg;
        const char *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;

        if (r->only)
                return str_equal(path, r->only) ? WATCH_ENTRY : WATCH_IGNORE;
        /* Their files change without being written: there is nothing to hear. */
        if (r->is_top && (str_equal(path, "proc") || str_equal(path, "sys")))
                return WATCH_ENTRY;
        if (r->is_default && is_directory && is_filled_by_tools(name))
                return WATCH_ENTRY;
        for (size_t i = 0; i < r->n_rules; i++)
                if (fits(&r->rules[i], path, name, is_directory))
                        return WATCH_IGNORE;
        return WATCH_TREE;
}

/* "/x" is x at the top, "x/" a directory. */
static int add_rule(struct watch_rules *r, const char *pattern, struct error *err)
{
        struct rule *rule = &r->rules[r->n_rules];
        CLEANUP(mem_free) char *text = NULL;
        bool is_anchored = pattern[0] == '/';
        size_t size;

        text = xstrdup(pattern + is_anchored);
        size = strlen(text);
        if (size > 0 && text[size - 1] == '/' && (size < 2 || text[size - 2] != '\\')) {
                text[size - 1] = '\0';
                rule->wants_directory = true;
        }
        if (!text[0])
                return error_set_field(err, -EINVAL, "", "a pattern is empty");
        if (glob_new(text, &rule->glob, err) < 0)
                return err->code;
        rule->wants_path = is_anchored || glob_has_slash(rule->glob);
        r->n_rules++;
        return 0;
}

/* See watch_private.h. */
int watch_rules_new(const struct roots *roots, const json_t *patterns, struct watch_rules **ret,
                    struct error *err)
{
        struct watch_rules *r = xnew(struct watch_rules);
        size_t n = json_array_size(patterns);

        r->roots = roots;
        r->is_default = !patterns;
        r->rules = xcalloc(n + 1, sizeof(*r->rules));
        for (size_t i = 0; i < n; i++) {
                struct error inner = ERROR_INIT;

                if (add_rule(r, json_string_value(json_array_get(patterns, i)), &inner) == 0)
                        continue;
                (void)watch_rules_free(r);
                return error_set_field(err, inner.code, "/ignore", "ignore: %s", inner.message);
        }
        *ret = r;
        return 0;
}

/* See watch_private.h. */
struct watch_rules *watch_rules_free(struct watch_rules *r)
{
        if (!r)
                return NULL;
        for (size_t i = 0; i < r->n_rules; i++)
                (void)glob_free(r->rules[i].glob);
        free(r->rules);
        free(r->only);
        free(r);
        return NULL;
}

/* See watch_private.h. */
void watch_rules_set_only(struct watch_rules *r, const char *name)
{
        r->only = xstrdup(name);
}

static int begin_work(void *arg)
{
        struct watch_rules *r = arg;

        return files_scope_enter(&r->scope, &r->roots->user);
}

static void end_work(void *arg)
{
        struct watch_rules *r = arg;

        files_scope_leave(&r->scope);
}

static void free_rules(void *arg)
{
        (void)watch_rules_free(arg);
}

/* See watch_private.h. */
void watch_rules_apply(struct watch_rules *r, const char *root, struct watch_options *o)
{
        r->is_top = str_equal(root, "/");
        o->interest = interest;
        o->free_interest = free_rules;
        o->interest_arg = r;
        o->interest_by_path = r->is_top || r->only;
        for (size_t i = 0; i < r->n_rules; i++)
                o->interest_by_path |= r->rules[i].wants_path;
        o->begin_work = begin_work;
        o->end_work = end_work;
}
