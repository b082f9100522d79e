/* SPDX-License-Identifier: Apache-2.0 */

/* Deliveries on the disk, one at a time. */

#include "agent/webhook/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/base/utf8.h"
#include "agent/webhook/headers.h"

#define VERSION 1

struct name {
        char text[LIMIT_WEBHOOK_ID + 16];
};

static const char *file_of(struct name *name, const char *id, const char *suffix)
{
        (void)snprintf(name->text, sizeof(name->text), "%s%s", id, suffix);
        return name->text;
}

/* See the header. */
bool journal_id_is_valid(const char *id)
{
        size_t size = strlen(id);

        return size > 0 && size <= LIMIT_WEBHOOK_ID &&
               strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
                       size;
}

/* See the header. */
void journal_entry_done(struct journal_entry *e)
{
        if (e->secret)
                explicit_bzero(e->secret, strlen(e->secret));
        free(e->id);
        free(e->url);
        free(e->secret);
        free(e->body);
        json_decref(e->headers);
        *e = (struct journal_entry){ 0 };
}

/* See the header. */
int journal_open(const char *state_dir, int *ret_dir, struct error *err)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/webhooks", state_dir);
        CLEANUP(fd_close) int fd = -1;
        int r;

        r = path_make_dirs(path, 0700, err);
        if (r < 0)
                return error_wrap(err, "webhooks");
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return error_set(err, -errno, "open %s", path);
        if (fchmod(fd, 0700) < 0)
                return error_set(err, -errno, "chmod %s", path);
        *ret_dir = STEAL_FD(fd);
        return 0;
}

/* See the header. */
char *journal_head(const struct journal_entry *e)
{
        json_auto_t *head = json_pack("{s:i, s:s, s:s, s:O?, s:s?, s:I, s:I}", "version", VERSION,
                                      "id", e->id, "url", e->url, "headers", e->headers, "secret",
                                      e->secret, "created_at_ms", (json_int_t)e->created_at_ms,
                                      "body_size", (json_int_t)e->body_size);
        CLEANUP(mem_free) char *text = head ? json_dumps(head, JSON_COMPACT) : NULL;

        return text ? xasprintf("%s\n", text) : NULL;
}

static int write_file(int fd, const char *head, const void *body, size_t body_size)
{
        int r;

        r = fd_write_all(fd, head, strlen(head));
        if (r == 0)
                r = fd_write_all(fd, body, body_size);
        if (r == 0)
                r = fd_write_all(fd, "\n", 1);
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        return r;
}

/* See the header. */
int journal_write(int dir, const char *id, const char *head, const void *body, size_t body_size,
                  struct error *err)
{
        CLEANUP(fd_close) int fd = -1;
        struct name temporary;
        struct name name;
        int r;

        file_of(&temporary, id, ".tmp");
        file_of(&name, id, ".json");
        fd = openat(dir, temporary.text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                    0600);
        if (fd < 0)
                return error_set(err, -errno, "webhook journal: create %s", temporary.text);

        r = write_file(fd, head, body, body_size);
        if (r == 0 && renameat(dir, temporary.text, dir, name.text) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlinkat(dir, temporary.text, 0); /* the next start would do it, too */
                return error_set(err, r, "webhook journal: write %s", name.text);
        }
        /* Without this the name may be lost with the power. Then who waits must not be told that it is safe. */
        if (fsync(dir) < 0) {
                r = -errno;
                (void)unlinkat(dir, name.text, 0);
                return error_set(err, r, "webhook journal: write its directory");
        }
        return 0;
}

static char *note_text(const struct journal_note *note)
{
        CLEANUP(mem_free) char *last_error = xstrdup(note->last_error);
        json_auto_t *json = NULL;

        utf8_repair(last_error); /* else there would be no note at all */
        json = json_pack("{s:i, s:I, s:s, s:i}", "attempts", (int)note->attempts,
                         "next_attempt_at_ms", (json_int_t)note->next_attempt_at_ms, "last_error",
                         last_error, "last_status", (int)note->last_status);
        return json ? json_dumps(json, JSON_COMPACT) : NULL;
}

/* See the header. */
int journal_note(int dir, const char *id, const struct journal_note *note, struct error *err)
{
        CLEANUP(mem_free) char *text = note_text(note);
        CLEANUP(mem_free) char *line = NULL;
        CLEANUP(fd_close) int fd = -1;
        struct name name;
        int r;

        if (!text)
                return error_set(err, -ENOMEM, "webhook journal: %s", id);
        /* The line break in front ends what an earlier one may have left unfinished. */
        line = xasprintf("\n%s\n", text);
        fd = openat(dir, file_of(&name, id, ".json"), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return error_set(err, -errno, "webhook journal: open %s", name.text);
        r = fd_write_all(fd, line, strlen(line));
        if (r == 0 && fdatasync(fd) < 0)
                r = -errno;
        return r < 0 ? error_set(err, r, "webhook journal: write %s", name.text) : 0;
}

/* See the header. */
int journal_remove(int dir, const char *id)
{
        struct name name;

        /* Not synchronised: what comes back after a power failure is a repeat, which receivers can tell. */
        return unlinkat(dir, file_of(&name, id, ".json"), 0) < 0 ? -errno : 0;
}

/* Reads until @size bytes are there or the file ends; returns how many there were. */
static ssize_t read_at(int fd, void *data, size_t size, off_t offset)
{
        size_t done = 0;

        while (done < size) {
                ssize_t n = pread(fd, (char *)data + done, size - done, offset + (off_t)done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                done += (size_t)n;
        }
        return (ssize_t)done;
}

static int damaged(const struct name *name, const char *why, struct error *err)
{
        return error_set_field(err, -EINVAL, "", "webhook journal: %s is damaged: %s", name->text,
                               why);
}

/* As they were when they were accepted, or none. */
static bool are_headers(const json_t *headers)
{
        struct error err = ERROR_INIT;

        return !headers || json_is_null(headers) ||
               (json_is_object(headers) && headers_check(headers, &err) == 0);
}

/* Without it nothing would be signed, so what is none is no reason to go without. */
static bool is_secret(const json_t *secret)
{
        return !secret || json_is_null(secret) || json_is_string(secret);
}

/* The first line, parsed; *ret_size is where the body begins. */
static int read_head(int fd, const struct name *name, struct journal_entry *e, size_t *ret_size,
                     struct error *err)
{
        CLEANUP(mem_free) char *text = xcalloc(1, LIMIT_WEBHOOK_HEAD + 1);
        json_auto_t *json = NULL;
        json_t *headers = NULL, *secret = NULL; /* borrowed from json */
        const char *id, *url;
        json_int_t created, size;
        char *end;
        int version;
        ssize_t n;

        n = read_at(fd, text, LIMIT_WEBHOOK_HEAD, 0);
        if (n < 0)
                return error_set(err, (int)n, "webhook journal: read %s", name->text);
        end = memchr(text, '\n', (size_t)n);
        if (end)
                json = json_loadb(text, (size_t)(end - text), JSON_REJECT_DUPLICATES, NULL);
        explicit_bzero(text, (size_t)n);
        if (!json)
                return damaged(name, "its first line is no JSON", err);
        if (json_unpack(json, "{s:i, s:s, s:s, s?:o, s?:o, s:I, s:I}", "version", &version, "id",
                        &id, "url", &url, "headers", &headers, "secret", &secret, "created_at_ms",
                        &created, "body_size", &size) < 0 ||
            version != VERSION || created < 0 || size < 0 || (uint64_t)size > LIMIT_WEBHOOK_BODY ||
            !are_headers(headers) || !is_secret(secret))
                return damaged(name, "its first line makes no sense", err);
        e->headers = json_is_object(headers) ? json_incref(headers) : NULL;
        e->id = xstrdup(id);
        e->url = xstrdup(url);
        e->secret = json_is_string(secret) ? xstrdup(json_string_value(secret)) : NULL;
        e->created_at_ms = created;
        e->body_size = (size_t)size;
        *ret_size = (size_t)(end - text) + 1;
        return 0;
}

static void parse_note(const char *text, size_t size, struct journal_note *note)
{
        json_auto_t *json = json_loadb(text, size, 0, NULL);
        const char *error;
        json_int_t next;
        int attempts, status;

        if (json_unpack(json, "{s:i, s:I, s:s, s:i}", "attempts", &attempts, "next_attempt_at_ms",
                        &next, "last_error", &error, "last_status", &status) < 0 ||
            attempts < 0 || status < 0 || next < 0)
                return;
        *note = (struct journal_note){
                .attempts = (unsigned)attempts,
                .last_status = (unsigned)status,
                .next_attempt_at_ms = next,
        };
        (void)snprintf(note->last_error, sizeof(note->last_error), "%s", error);
        utf8_repair(note->last_error);
}

/* The last line that is a note, in what stands behind the body. Tries are few, so that is little text. */
static int read_notes(int fd, const struct name *name, off_t offset, struct journal_note *note,
                      struct error *err)
{
        CLEANUP(mem_free) char *text = xcalloc(1, LIMIT_WEBHOOK_NOTES);
        ssize_t n = read_at(fd, text, LIMIT_WEBHOOK_NOTES, offset);
        char *p = text;

        if (n < 0)
                return error_set(err, (int)n, "webhook journal: read %s", name->text);
        for (char *end; (end = memchr(p, '\n', (size_t)(text + n - p))); p = end + 1)
                parse_note(p, (size_t)(end - p), note);
        return 0;
}

static int read_entry(int fd, const struct name *name, bool with_body, struct journal_entry *e,
                      struct error *err)
{
        char line_break = '\0';
        struct stat st;
        size_t head_size = 0;
        ssize_t n;
        int r;

        if (fstat(fd, &st) < 0)
                return error_set(err, -errno, "webhook journal: %s", name->text);
        if (!S_ISREG(st.st_mode))
                return damaged(name, "it is no regular file", err);
        r = read_head(fd, name, e, &head_size, err);
        if (r < 0)
                return r;
        n = read_at(fd, &line_break, 1, (off_t)(head_size + e->body_size));
        if (n < 0)
                return error_set(err, (int)n, "webhook journal: read %s", name->text);
        if (n != 1 || line_break != '\n')
                return damaged(name, "its body is not complete", err);

        if (with_body) {
                e->body = try_alloc(e->body_size + 1);
                if (!e->body)
                        return error_set(err, -ENOMEM, "webhook journal: read %s", name->text);
                n = read_at(fd, e->body, e->body_size, (off_t)head_size);
                if (n != (ssize_t)e->body_size)
                        return error_set(err, n < 0 ? (int)n : -EIO, "webhook journal: read %s",
                                         name->text);
                e->body[e->body_size] = '\0';
        }
        return read_notes(fd, name, (off_t)(head_size + e->body_size + 1), &e->note, err);
}

/* See the header. */
int journal_read(int dir, const char *id, bool with_body, struct journal_entry *ret,
                 struct error *err)
{
        CLEANUP(fd_close) int fd = -1;
        struct journal_entry e = { 0 };
        struct name name;
        int r;

        fd = openat(dir, file_of(&name, id, ".json"),
                    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return error_set(err, -errno, "webhook journal: open %s", name.text);
        r = read_entry(fd, &name, with_body, &e, err);
        if (r == 0 && !str_equal(e.id, id))
                r = damaged(&name, "it names another delivery", err);
        if (r < 0) {
                journal_entry_done(&e);
                return r;
        }
        *ret = e;
        return 0;
}
