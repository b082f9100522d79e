/* SPDX-License-Identifier: Apache-2.0 */

/* Where option values come from. Defaults, file, environment and command line are applied in this order to
 * one struct config, each through option_parse; every source only adds its name to the message when a value
 * is refused. What is left unset in the end gets a computed default. */

#include "agent/config.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/config_table.h"
#include "build_config.h"

#define LOG_MODULE "config"
#include "agent/base/log.h"

#define ENV_PREFIX "VM_AGENT_"

/* Variables with our prefix that are no options: set by an agent for what it runs, and so present when one
 * agent runs inside another's execution. */
static const char *const foreign_variables[] = { "VM_AGENT_EXECUTION_ID" };

static const char *find_env(char *const *envp, const char *name)
{
        size_t size = strlen(name);

        for (; *envp; envp++)
                if (strncmp(*envp, name, size) == 0 && (*envp)[size] == '=')
                        return *envp + size + 1;
        return NULL;
}

static void set_defaults(struct config *c)
{
        struct option_source s = { .config = c };
        struct error err = ERROR_INIT;

        option_for_each(o)
        {
                if (o->def && option_source_set(&s, o, o->def, &err) < 0)
                        abort(); /* a mistake in the table, which the unit test would have found */
        }
}

static char *default_runtime_dir(char *const *envp)
{
        const char *dir = find_env(envp, "RUNTIME_DIRECTORY");

        if (dir && *dir) /* systemd lists several separated by colons */
                return xstrndup(dir, strcspn(dir, ":"));
        if (geteuid() == 0)
                return xstrdup("/run/vm-agent");

        dir = find_env(envp, "XDG_RUNTIME_DIR");
        if (dir && dir[0] == '/')
                return xasprintf("%s/vm-agent", dir);
        return xasprintf("/tmp/vm-agent-%u", (unsigned)geteuid());
}

static char *default_state_dir(const struct config *c, char *const *envp)
{
        const char *dir = find_env(envp, "STATE_DIRECTORY");

        if (dir && *dir) /* as above */
                return xstrndup(dir, strcspn(dir, ":"));
        return xasprintf("%s/state", c->runtime_dir);
}

static char *default_secret_file(char *const *envp)
{
        const char *dir = find_env(envp, "CREDENTIALS_DIRECTORY");
        CLEANUP(mem_free) char *path = NULL;

        if (!dir || dir[0] != '/')
                dir = VM_AGENT_SYSCONFDIR "/vm-agent";
        path = xasprintf("%s/jwt-secret", dir);
        return access(path, F_OK) == 0 ? STEAL(path) : NULL;
}

static char *default_vm_id(void)
{
        char name[HOST_NAME_MAX + 1] = "";

        (void)gethostname(name, sizeof(name) - 1); /* on failure the fallback below is used */
        return xstrdup(*name ? name : "localhost");
}

static void compute_defaults(struct config *c, char *const *envp)
{
        if (!c->runtime_dir)
                c->runtime_dir = default_runtime_dir(envp);
        if (!c->state_dir)
                c->state_dir = default_state_dir(c, envp);
        if (!c->jwt_secret_file)
                c->jwt_secret_file = default_secret_file(envp);
        if (!c->vm_id)
                c->vm_id = default_vm_id();
}

static bool is_foreign(const char *variable, size_t size)
{
        for (size_t i = 0; i < ARRAY_LEN(foreign_variables); i++)
                if (strlen(foreign_variables[i]) == size &&
                    memcmp(foreign_variables[i], variable, size) == 0)
                        return true;
        return false;
}

/* "VM_AGENT_MAX_BODY" → "max-body". Longer than any option's name: cut, and so unknown. */
static void name_of_variable(const char *variable, size_t size, char dst[OPTION_NAME_SIZE])
{
        size_t start = strlen(ENV_PREFIX);
        size_t n = MIN(size - start, (size_t)OPTION_NAME_SIZE - 1);

        for (size_t i = 0; i < n; i++) {
                unsigned char ch = (unsigned char)variable[start + i];

                dst[i] = ch == '_' ? '-' : (char)tolower(ch);
        }
        dst[n] = '\0';
}

static int unknown_variable(const char *variable, const char *name, struct error *err)
{
        const struct option_row *similar = option_suggest(name);
        char hint[96] = "";

        if (similar)
                (void)snprintf(hint, sizeof(hint), " (did you mean the option '%s'?)",
                               similar->name);
        return error_set_field(err, -EINVAL, "", "%s: unknown variable in the environment%s",
                               variable, hint);
}

static int set_list(struct option_source *s, const struct option_row *o, const char *text,
                    struct error *err)
{
        int r = 0;

        if (!*text)
                return option_source_set(s, o, "", err);

        while (r == 0 && *text) {
                size_t size = strcspn(text, ",");
                CLEANUP(mem_free) char *item = xstrndup(text, size);

                if (size > 0)
                        r = option_source_set(s, o, item, err);
                text += size + (text[size] == ',');
        }
        return r;
}

static int load_environment(struct config *c, char *const *envp, const char *base,
                            struct error *err)
{
        struct option_source s = { .config = c, .base = base };

        for (; *envp; envp++) {
                size_t size = strcspn(*envp, "=");
                CLEANUP(mem_free) char *variable = NULL;
                const struct option_row *o;
                char name[OPTION_NAME_SIZE];
                const char *value;
                int r;

                if (!str_has_prefix(*envp, ENV_PREFIX) || (*envp)[size] != '=' ||
                    is_foreign(*envp, size))
                        continue;

                variable = xstrndup(*envp, size);
                value = *envp + size + 1;
                name_of_variable(variable, size, name);
                o = option_find(name);
                if (!o)
                        return unknown_variable(variable, name, err);

                r = option_is_list(o) ? set_list(&s, o, value, err)
                                      : option_source_set(&s, o, value, err);
                if (r < 0)
                        return error_wrap(err, "%s", variable);
        }
        return 0;
}

struct argument {
        const struct option_row *option;
        const char *value;
};

/* "--no-name" for a bool, or NULL. */
static const struct option_row *find_negated(const char *name)
{
        const struct option_row *o;

        if (!str_has_prefix(name, "no-"))
                return NULL;
        o = option_find(name + strlen("no-"));
        return o && o->type == OPTION_BOOL ? o : NULL;
}

/* Takes the option at argv[*i], and its value, and moves *i behind them. There are no other arguments than
 * options, so that a following word that is no option can only be the value. */
static int next_argument(int argc, char *const *argv, int *i, struct argument *ret,
                         struct error *err)
{
        const char *text = argv[(*i)++];
        const char *equals = strchr(text, '=');
        CLEANUP(mem_free) char *name = NULL;
        const struct option_row *o;

        if (!str_has_prefix(text, "--") || text[2] == '\0')
                return error_set_field(err, -EINVAL, "", "unexpected argument '%.64s'", text);
        name = equals ? xstrndup(text + 2, (size_t)(equals - text) - 2) : xstrdup(text + 2);

        o = option_find(name);
        if (!o) {
                ret->option = equals ? NULL : find_negated(name);
                ret->value = "false";
                if (!ret->option) {
                        option_unknown(err, "--", name, option_suggest(name));
                        return err->code;
                }
                return 0;
        }

        ret->option = o;
        if (equals)
                ret->value = equals + 1;
        else if (*i < argc && !str_has_prefix(argv[*i], "--"))
                ret->value = argv[(*i)++];
        else if (o->type == OPTION_BOOL)
                ret->value = "true";
        else
                return error_set_field(err, -EINVAL, "", "--%s: needs a value (%s)", name,
                                       o->metavar);
        return 0;
}

static int load_arguments(struct config *c, int argc, char *const *argv, const char *base,
                          struct error *err)
{
        struct option_source s = { .config = c, .base = base };

        for (int i = 0; i < argc;) {
                struct argument a;
                int r;

                r = next_argument(argc, argv, &i, &a, err);
                if (r < 0)
                        return r;
                r = option_source_set(&s, a.option, a.value, err);
                if (r < 0)
                        return error_wrap(err, "--%s", a.option->name);
        }
        return 0;
}

/* The file must be known before the sources that come after it are applied. *ret is NULL when nobody names one. */
static int find_file(const struct config_sources *src, const char *base, char **ret,
                     struct error *err)
{
        const char *path = find_env(src->envp, ENV_PREFIX "CONFIG");

        for (int i = 0; i < src->argc;) {
                struct argument a;
                int r;

                r = next_argument(src->argc, src->argv, &i, &a, err);
                if (r < 0)
                        return r;
                if (a.option->offset == offsetof(struct config, config_file))
                        path = a.value;
        }
        if (!path || !*path)
                return 0;
        if (path_normalize(base, path, ret, err) < 0)
                return error_wrap(err, "--config");
        return 0;
}

/* As config_load, from sources that the caller chooses. */
int config_load_from(const struct config_sources *src, struct config **ret, struct error *err)
{
        CLEANUP(config_free) struct config *c = xnew(struct config);
        CLEANUP(mem_free) char *named = NULL;
        char *file;
        char cwd[PATH_MAX];
        int r;

        if (!getcwd(cwd, sizeof(cwd)))
                return error_set(err, -errno, "working directory");

        set_defaults(c);

        r = find_file(src, cwd, &named, err);
        if (r < 0)
                return r;
        r = config_load_file(c, named ? named : src->default_file, !named, err);
        if (r < 0)
                return r;

        /* The next two would set it again: what counts is which file was read. */
        file = STEAL(c->config_file);
        r = load_environment(c, src->envp, cwd, err);
        if (r == 0)
                r = load_arguments(c, src->argc, src->argv, cwd, err);
        free(c->config_file);
        c->config_file = file;
        if (r < 0)
                return r;

        compute_defaults(c, src->envp);
        *ret = STEAL(c);
        return 0;
}

/* From the process's own environment and the installed default file. */
int config_load(int argc, char *const *argv, struct config **ret, struct error *err)
{
        const struct config_sources sources = {
                .argc = argc,
                .argv = argv,
                .envp = environ,
                .default_file = VM_AGENT_SYSCONFDIR "/vm-agent/agent.conf",
        };

        return config_load_from(&sources, ret, err);
}

/* NULL is fine. */
struct config *config_free(struct config *c)
{
        if (!c)
                return NULL;
        option_for_each(o)
        {
                option_clear(o, c);
        }
        free(c);
        return NULL;
}

/* The new values are checked as a whole first, so that a bad reload changes nothing at all. */
int config_reload(struct config *c, int argc, char *const *argv, struct error *err)
{
        CLEANUP(config_free) struct config *fresh = NULL;
        int r;

        r = config_load(argc, argv, &fresh, err);
        if (r < 0)
                return r;
        r = config_check(fresh, err);
        if (r < 0)
                return r;

        option_for_each(o)
        {
                if (o->flags & OPTION_RELOAD)
                        option_swap(o, c, fresh);
                else if (!option_equal(o, c, fresh))
                        log_warning("option needs a restart", "option=%s", o->name);
        }
        return 0;
}
