/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an option is. Private to agent/config*.c and their test: everybody else sees struct config. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/error.h"
#include "agent/config.h"

enum option_type {
        OPTION_STRING,    /* char *; UTF-8 without control characters */
        OPTION_PATH,      /* char *; absolute and normalised */
        OPTION_ADDRESS,   /* char *; what listen_parse accepts */
        OPTION_CHOICE,    /* char *; one of names */
        OPTION_ENUM,      /* int; index into names */
        OPTION_BOOL,      /* bool */
        OPTION_UNSIGNED,  /* uint64_t */
        OPTION_SIZE,      /* uint64_t, bytes */
        OPTION_DURATION,  /* uint64_t, milliseconds */
        OPTION_LIST,      /* char **, of OPTION_STRING */
        OPTION_PATH_LIST, /* char **, of OPTION_PATH */
};

enum option_flags {
        OPTION_RELOAD = 1,  /* may change at run time */
        OPTION_SECRET = 2,  /* messages about a wrong value do not repeat it */
        OPTION_NO_FILE = 4, /* makes no sense inside the configuration file */
};

struct option_row {
        const char *name; /* "max-body" */
        enum option_type type;
        size_t offset;        /* in struct config */
        const char *def;      /* as text; NULL: unset, or computed (config.c) */
        const char *def_note; /* how the documentation describes a NULL default */
        uint64_t min;         /* numbers: the range, inclusive */
        uint64_t max;
        const char *const *names; /* OPTION_CHOICE and OPTION_ENUM: NULL-terminated */
        unsigned flags;
        const char *metavar;
        const char *group; /* a heading of the documentation; only in the first row of a group */
        const char *help;
};

/* Ends with a row without a name. */
extern const struct option_row option_table[];
#define option_for_each(o) for (const struct option_row *o = option_table; o->name; o++)

#define OPTION_NAME_SIZE 32 /* the longest name, with its NUL */
#define OPTIONS_MAX      128

/* NULL: no such option. */
const struct option_row *option_find(const char *name);
/* The option whose name looks most like @name, or NULL when none is close. */
const struct option_row *option_suggest(const char *name);

/* Says that there is no option @name, and which one was probably meant (NULL: no idea). */
void option_unknown(struct error *err, const char *prefix, const char *name,
                    const struct option_row *similar);

/* True for options that hold several values. */
bool option_is_list(const struct option_row *o);

/* Parses @text into the option's place in @c; lists grow by one. Relative paths start at @base; without a base
 * they are refused. An empty @text unsets an option that has no fixed default. On failure the old value stays;
 * the message names neither option nor source. */
int option_parse(const struct option_row *o, struct config *c, const char *text, const char *base,
                 struct error *err);
/* Frees the value; the place is zero afterwards. */
void option_clear(const struct option_row *o, struct config *c);
bool option_equal(const struct option_row *o, const struct config *a, const struct config *b);
/* Exchanges the values in @a and @b. */
void option_swap(const struct option_row *o, struct config *a, struct config *b);

/* One source while it is applied: a list is emptied when the source first names it, and then grows. */
struct option_source {
        struct config *config;
        const char *base; /* where relative paths start; NULL: they are refused */
        bool seen[OPTIONS_MAX];
};

/* option_parse for one value found in a source. */
int option_source_set(struct option_source *s, const struct option_row *o, const char *text,
                      struct error *err);

/* Applies the file @path and remembers it in c->config_file. A missing default file is fine. Messages name
 * file and line. */
int config_load_file(struct config *c, const char *path, bool is_default, struct error *err);
