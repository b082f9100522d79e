/* SPDX-License-Identifier: Apache-2.0 */

/* The configuration file: "option = value" lines by inih, with one optional section, [agent].
 *
 * inih reports the number of the first bad line, but not to its handler. So the lines are counted here, where
 * they are handed out. Two surprises are removed there as well: inih takes an over-long line for two, and an
 * indented one for more of the value above it. */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <ini.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "agent/config_table.h"

#define FILE_MAX_BYTES MIB
#define SECTION        "agent"

struct file_reader {
        struct option_source source;
        const char *rest; /* what has not been handed out yet */
        unsigned line;
        unsigned first_line[OPTIONS_MAX]; /* where a scalar option was given */
        unsigned error_line;              /* 0: no error so far */
        struct error error;
};

/* Only the first error counts: later lines may be wrong because of it. Returns 0, which inih takes for failure. */
static int file_fail(struct file_reader *f, const struct error *err)
{
        if (f->error_line == 0) {
                f->error = *err;
                f->error_line = f->line;
        }
        return 0;
}

/* inih says nothing about a section until it finds an option in it. */
static bool is_foreign_section(const char *line)
{
        return line[0] == '[' && !str_has_prefix(line, "[" SECTION "]");
}

/* inih's fgets: the next line, NUL-terminated, or NULL at the end. */
static char *on_ini_line(char *dst, int dst_size, void *arg)
{
        struct file_reader *f = arg;
        struct error err = ERROR_INIT;
        size_t size;

        if (!*f->rest || f->error_line > 0)
                return NULL;
        f->line++;
        f->rest += strspn(f->rest, " \t");
        size = strcspn(f->rest, "\n");

        if (size + 2 > (size_t)dst_size) {
                (void)error_set_field(&err, -EINVAL, "", "line is longer than %d characters",
                                      dst_size - 2);
                (void)file_fail(f, &err);
                return NULL;
        }
        memcpy(dst, f->rest, size);
        dst[size] = '\n';
        dst[size + 1] = '\0';
        f->rest += size + (f->rest[size] == '\n');

        if (is_foreign_section(dst)) {
                dst[strcspn(dst, "\r\n")] = '\0';
                (void)error_set_field(&err, -EINVAL, "", "unknown section %.64s", dst);
                (void)file_fail(f, &err);
                return NULL;
        }
        return dst;
}

static int on_ini_option(void *arg, const char *section, const char *key, const char *value)
{
        struct file_reader *f = arg;
        const struct option_row *o;
        struct error err = ERROR_INIT;
        CLEANUP(mem_free) char *name = xstrdup(key);
        size_t index;

        (void)section; /* checked by on_ini_line */
        for (char *p = name; *p; p++)
                if (*p == '_')
                        *p = '-';

        o = option_find(name);
        if (!o || o->flags & OPTION_NO_FILE) {
                option_unknown(&err, "", key, o ? NULL : option_suggest(name));
                return file_fail(f, &err);
        }

        index = (size_t)(o - option_table);
        if (!option_is_list(o) && f->first_line[index] > 0) {
                (void)error_set_field(&err, -EINVAL, "", "%s: already given in line %u", o->name,
                                      f->first_line[index]);
                return file_fail(f, &err);
        }
        f->first_line[index] = f->line;

        if (option_source_set(&f->source, o, value, &err) < 0) {
                (void)error_wrap(&err, "%s", o->name);
                return file_fail(f, &err);
        }
        return 1;
}

static int parse_file(struct config *c, const char *path, const char *text, struct error *err)
{
        struct file_reader f = { .source = { .config = c }, .rest = text };
        int r;

        r = ini_parse_stream(on_ini_line, &f, on_ini_option, &f);
        if (r < 0)
                return error_set(err, -ENOMEM, "%s", path);
        if (r > 0 && (f.error_line == 0 || (unsigned)r < f.error_line))
                return error_set_field(err, -EINVAL, "", "%s:%d: expected 'option = value'", path,
                                       r);
        if (f.error_line > 0) {
                *err = f.error;
                return error_wrap(err, "%s:%u", path, f.error_line);
        }
        return 0;
}

/* Relative paths in the file are refused: they would depend on who starts the agent. */
int config_load_file(struct config *c, const char *path, bool is_default, struct error *err)
{
        CLEANUP(buf_done) struct buf text = { .max = FILE_MAX_BYTES };
        int r;

        if (is_default && access(path, F_OK) < 0 && errno == ENOENT)
                return 0;

        r = fd_read_file(path, FILE_MAX_BYTES, &text, err);
        if (r < 0)
                return error_wrap(err, "configuration file");
        if (memchr(text.data ? text.data : "", '\0', text.size))
                return error_set_field(err, -EINVAL, "", "%s: contains a NUL byte", path);

        r = parse_file(c, path, text.data ? text.data : "", err);
        if (r < 0)
                return r;
        c->config_file = xstrdup(path);
        return 0;
}
