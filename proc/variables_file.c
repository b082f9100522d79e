/* SPDX-License-Identifier: Apache-2.0 */

/* The file of the global variables: small, readable for the agent alone, and synchronised with the disk, because a
 * machine may be stopped at any time, and clients were told that their variables are kept. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "proc/variables_private.h"

#define LOG_MODULE "env"
#include "agent/base/log.h"

#define VERSION   1
#define FILE_NAME "env.json"
/* Each character may need six, and there are quotes. */
#define FILE_MAX (8 * LIMIT_ENV_BYTES)

/* Takes what can be used over from @doc. */
static int take(json_t *doc, struct variables_state *ret)
{
        json_t *entries = json_object_get(doc, "env_vars");
        const char *name;
        json_t *value;

        if (json_integer_value(json_object_get(doc, "version")) != VERSION ||
            !json_is_object(entries))
                return -EBADMSG;
        json_object_foreach(entries, name, value)
                if (!json_is_string(value) || *name == '\0' || strchr(name, '='))
                        return -EBADMSG;
        ret->entries = json_incref(entries);
        ret->timestamp_us = json_integer_value(json_object_get(doc, "timestamp_us"));
        return 0;
}

/* See the header. */
int variables_file_read(const char *dir, struct variables_state *ret, struct error *err)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/" FILE_NAME, dir);
        CLEANUP(buf_done) struct buf content;
        json_t *doc;
        int r;

        buf_init(&content, 0);
        *ret = (struct variables_state){ .entries = NULL };
        r = fd_read_file(path, FILE_MAX, &content, err);
        if (r == -ENOENT)
                r = 0;
        else if (r == 0) {
                doc = json_loadb(content.data ? content.data : "", content.size, 0, NULL);
                r = doc ? take(doc, ret) : -EBADMSG;
                json_decref(doc);
                if (r < 0)
                        r = error_set(err, r, "%s: not what the agent writes there", path);
        }
        if (!ret->entries)
                ret->entries = json_object();
        return r;
}

/* See the header. */
void variables_file_remove(const char *dir)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/" FILE_NAME, dir);

        if (unlink(path) < 0 && errno != ENOENT)
                log_warning(
                        "the file of the global variables stays, though they are not to be kept",
                        "path=%s error=%s", log_quote(path), strerror(errno));
}

/* See the header. */
void variables_file_set_aside(const char *dir)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/" FILE_NAME, dir);
        CLEANUP(mem_free) char *aside = xasprintf("%s.bad", path);

        (void)rename(path, aside); /* else it is replaced by the next change */
}

static int write_aside(const char *path, const char *text)
{
        CLEANUP(fd_close)
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r;

        if (fd < 0)
                return -errno;
        r = fd_write_all(fd, text, strlen(text));
        return r == 0 && fsync(fd) < 0 ? -errno : r;
}

static int sync_directory(const char *dir)
{
        CLEANUP(fd_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static char *dump(const struct variables_state *s)
{
        json_t *doc = json_pack("{s:i, s:I, s:O}", "version", VERSION, "timestamp_us",
                                (json_int_t)s->timestamp_us, "env_vars", s->entries);
        char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

        json_decref(doc);
        return text;
}

/* See the header. */
int variables_file_write(const char *dir, const struct variables_state *s, struct error *err)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/" FILE_NAME, dir);
        CLEANUP(mem_free) char *aside = xasprintf("%s.tmp", path);
        CLEANUP(mem_free) char *text = dump(s);
        int r = text ? write_aside(aside, text) : -ENOMEM;

        if (r == 0 && rename(aside, path) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlink(aside); /* it may be missing; nobody reads it */
                return error_set(err, r, "%s", path);
        }
        /* The new name is there, for the agent that comes next; only the machine's end could take it back. */
        (void)sync_directory(dir);
        return 0;
}
