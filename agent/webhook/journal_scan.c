/* SPDX-License-Identifier: Apache-2.0 */

/* What an earlier agent left in the journal. It may have been killed at any moment, and the disk may have lost
 * something since, so nothing that is found here stops the agent from starting. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_MODULE "webhook"
#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/log.h"
#include "agent/base/str.h"
#include "agent/webhook/journal.h"

struct scan {
        int dir;
        struct journal_entry *entries;
        size_t n_entries;
        unsigned n_damaged;
        bool is_full;
};

static bool has_suffix(const char *name, const char *suffix)
{
        size_t size = strlen(name);
        size_t suffix_size = strlen(suffix);

        return size > suffix_size && str_equal(name + size - suffix_size, suffix);
}

static void set_aside(struct scan *s, const char *id, const struct error *err)
{
        CLEANUP(mem_free) char *name = xasprintf("%s.json", id);
        CLEANUP(mem_free) char *aside = xasprintf("%s.json.damaged", id);

        log_warning("damaged delivery", "error=%s", log_quote(err->message));
        if (s->n_damaged++ < LIMIT_WEBHOOK_DAMAGED)
                (void)renameat(s->dir, name, s->dir, aside); /* else it is found again next time */
        else
                (void)unlinkat(s->dir, name, 0);
}

static void look_at(struct scan *s, const char *name)
{
        CLEANUP(mem_free) char *id = xstrndup(name, strlen(name) - strlen(".json"));
        struct error err = ERROR_INIT;
        struct journal_entry e;
        int r;

        if (!journal_id_is_valid(id))
                return; /* not ours */
        if (s->n_entries == LIMIT_WEBHOOK_FILES) {
                s->is_full = true;
                return;
        }
        r = journal_read(s->dir, id, false, &e, &err);
        if (r == -EINVAL) {
                set_aside(s, id, &err);
        } else if (r < 0) {
                log_warning("unreadable delivery", "error=%s", log_quote(err.message));
        } else {
                s->entries = xrealloc_array(s->entries, s->n_entries + 1, sizeof(e));
                s->entries[s->n_entries++] = e;
        }
}

static int compare(const void *a, const void *b)
{
        const struct journal_entry *x = a;
        const struct journal_entry *y = b;

        return (x->created_at_ms > y->created_at_ms) - (x->created_at_ms < y->created_at_ms);
}

/* The names first: files are renamed and removed afterwards, which would confuse readdir. */
static int list_names(int dir, char ***ret, size_t *ret_n, struct error *err)
{
        CLEANUP(fd_close) int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *stream = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *file;

        if (!stream)
                return error_set(err, -errno, "webhook journal: read its directory");
        fd = -1; /* the stream's */
        while ((file = readdir(stream))) {
                if (file->d_name[0] == '.')
                        continue;
                *ret = xrealloc_array(*ret, *ret_n + 1, sizeof(char *));
                (*ret)[(*ret_n)++] = xstrdup(file->d_name);
        }
        (void)closedir(stream);
        return 0;
}

/* See journal.h. */
int journal_scan(int dir, void (*found)(void *arg, struct journal_entry *e), void *arg,
                 struct error *err)
{
        struct scan s = { .dir = dir };
        char **names = NULL;
        size_t n = 0;
        int r;

        r = list_names(dir, &names, &n, err);
        for (size_t i = 0; i < n; i++)
                s.n_damaged += has_suffix(names[i], ".json.damaged");
        for (size_t i = 0; i < n; i++) {
                /* Nobody was told that what is in a temporary file is safe. */
                if (has_suffix(names[i], ".tmp"))
                        (void)unlinkat(dir, names[i], 0);
                else if (has_suffix(names[i], ".json"))
                        look_at(&s, names[i]);
                free(names[i]);
        }
        free(names);
        if (s.is_full)
                log_warning("too many deliveries", "max=%d", LIMIT_WEBHOOK_FILES);

        if (s.n_entries > 0)
                qsort(s.entries, s.n_entries, sizeof(s.entries[0]), compare);
        for (size_t i = 0; i < s.n_entries; i++) {
                found(arg, &s.entries[i]);
                journal_entry_done(&s.entries[i]);
        }
        free(s.entries);
        return r;
}
