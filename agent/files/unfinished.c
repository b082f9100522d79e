/* SPDX-License-Identifier: Apache-2.0 */

/* Slots are taken in memory, by the random digits of the name that owns them, so no lock is needed and forgetting a
 * name is a look at 1024 numbers. The lowest free one is taken, which keeps the file small. On the disk a slot is one
 * write when it is taken, and four bytes when it is freed. The descriptor stays open, because users may not open
 * the file; and it is written to, not mapped, because a full disk under a mapping is a signal. */

#include "agent/files/unfinished.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_MODULE "files"
#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/log.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/remove.h"
#include "agent/files/roots.h"
#include "agent/files/temporary.h"

#define MAGIC 0x31664e55u /* a slot in use */

/* The kernel may still be closing what a killed agent had open. */
#define LOCK_TRIES    50
#define LOCK_PAUSE_MS 10

/* A slot on the disk; @path is not terminated. */
struct record {
        uint32_t magic;
        uint32_t path_size;
        char name[TEMPORARY_NAME_SIZE];
        char path[PATH_MAX];
};

#define HEADER_SIZE offsetof(struct record, path)

static_assert(sizeof(struct record) <= UNFINISHED_SLOT_SIZE, "a slot has room for any path");

struct unfinished {
        int fd;
        atomic_bool has_warned;
        bool is_old[UNFINISHED_N_SLOTS];             /* the predecessor's */
        _Atomic uint64_t owners[UNFINISHED_N_SLOTS]; /* 0: free */
};

static off_t offset_of(size_t slot)
{
        return (off_t)(slot * UNFINISHED_SLOT_SIZE);
}

/* 63 of the name's random bits, and one that keeps it from being 0. */
static uint64_t owner_of(const char *name)
{
        char digits[17] = "";

        (void)strncat(digits, strrchr(name, '-') + 1, sizeof(digits) - 1);
        return strtoull(digits, NULL, 16) | 1;
}

/* Once: when it happens it happens with every file. */
static void warn(struct unfinished *u, int error)
{
        if (!atomic_exchange(&u->has_warned, true))
                log_warning("an unfinished file is not noted", "error=%s",
                            log_quote(error == -ENOSPC ? "no room" : strerror(-error)));
}

/* Reads a slot, and believes nothing. */
static bool read_slot(const struct unfinished *u, size_t slot, struct record *ret)
{
        ssize_t n = pread(u->fd, ret, sizeof(*ret), offset_of(slot));

        return n > (ssize_t)HEADER_SIZE && ret->magic == MAGIC && ret->path_size > 0 &&
               ret->path_size < PATH_MAX && (size_t)n >= HEADER_SIZE + ret->path_size &&
               memchr(ret->name, '\0', sizeof(ret->name)) && temporary_is_name(ret->name) &&
               ret->path[0] == '/' && !memchr(ret->path, '\0', ret->path_size);
}

static void free_slot(struct unfinished *u, size_t slot)
{
        static const uint32_t nothing = 0;

        /* The other order could wipe out its next owner's. If it fails, a name is noted that does not exist. */
        (void)!pwrite(u->fd, &nothing, sizeof(nothing), offset_of(slot));
        atomic_store(&u->owners[slot], 0);
}

/* See the header. */
int unfinished_open(const char *state_dir, struct unfinished **ret, struct error *err)
{
        CLEANUP(unfinished_close) struct unfinished *u = xnew(struct unfinished);
        CLEANUP(mem_free) char *path = xasprintf("%s/unfinished", state_dir);
        CLEANUP(mem_free) struct record *record = xnew(struct record);
        struct stat st;

        u->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
        if (u->fd < 0)
                return error_set(err, -errno, "%s", path);
        if (fstat(u->fd, &st) < 0)
                return error_set(err, -errno, "%s", path);
        if (!S_ISREG(st.st_mode))
                return error_set_field(err, -EINVAL, "", "%s is no file", path);

        for (size_t i = 0; i < UNFINISHED_N_SLOTS && offset_of(i) < st.st_size; i++) {
                if (!read_slot(u, i, record))
                        continue;
                u->is_old[i] = true;
                atomic_store(&u->owners[i], owner_of(record->name));
        }
        *ret = STEAL(u);
        return 0;
}

/* See the header. */
struct unfinished *unfinished_close(struct unfinished *u)
{
        if (!u)
                return NULL;

        (void)fd_close(u->fd);
        free(u);
        return NULL;
}

static int take_slot(struct unfinished *u, uint64_t owner, size_t *ret)
{
        for (size_t i = 0; i < UNFINISHED_N_SLOTS; i++) {
                uint64_t nobody = 0;

                if (atomic_load_explicit(&u->owners[i], memory_order_relaxed) == 0 &&
                    atomic_compare_exchange_strong(&u->owners[i], &nobody, owner)) {
                        *ret = i;
                        return 0;
                }
        }
        return -ENOSPC;
}

/* See the header. */
void unfinished_note(struct unfinished *u, int dir, const char *name)
{
        struct record r;
        size_t slot, size;
        ssize_t n;
        int error;

        assert(temporary_is_name(name));
        n = place_where(dir, r.path);
        if (n < 0) {
                warn(u, (int)n);
                return;
        }
        r.magic = MAGIC;
        r.path_size = (uint32_t)n;
        memset(r.name, 0, sizeof(r.name));
        memcpy(r.name, name, strlen(name));

        error = take_slot(u, owner_of(name), &slot);
        if (error < 0) {
                warn(u, error);
                return;
        }
        size = HEADER_SIZE + (size_t)n;
        n = pwrite(u->fd, &r, size, offset_of(slot));
        if (n == (ssize_t)size)
                return;
        warn(u, n < 0 ? -errno : -ENOSPC);
        free_slot(u, slot);
}

/* See the header. */
void unfinished_forget(struct unfinished *u, const char *name)
{
        uint64_t owner;

        if (!temporary_is_name(name))
                return;
        owner = owner_of(name);
        for (size_t i = 0; i < UNFINISHED_N_SLOTS; i++)
                if (atomic_load_explicit(&u->owners[i], memory_order_relaxed) == owner) {
                        free_slot(u, i);
                        return;
                }
}

/* --- collecting --- */

struct collection {
        const struct roots *roots;
        const atomic_bool *cancel;
        unsigned n_tries; /* that are left, for all together */
};

static bool is_cancelled(const struct collection *c)
{
        return c->cancel && atomic_load(c->cancel);
}

/* Is it being made by somebody who lives? Not if it cannot be opened: it got its last mode, which does not let
 * its owner read, just before the end. */
static bool is_in_use(struct collection *c, const struct place *p)
{
        static const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000 * 1000 };
        CLEANUP(fd_close) int fd = place_open(p, O_RDONLY);

        while (fd >= 0 && temporary_is_locked(fd)) {
                if (c->n_tries == 0 || is_cancelled(c))
                        return true;
                c->n_tries--;
                (void)nanosleep(&pause, NULL);
        }
        return false;
}

/* Returns a negative errno, or whether there was something. */
static int remove_entry(struct collection *c, int dir, const char *name)
{
        CLEANUP(fd_close) int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct place p = PLACE_INIT;
        int r;

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (fstat(fd, &p.st) < 0)
                return -errno;
        if (!S_ISREG(p.st.st_mode) && !S_ISDIR(p.st.st_mode) && !S_ISLNK(p.st.st_mode))
                return 0; /* the agent makes no such things */
        p.fd = fd;
        if (!S_ISLNK(p.st.st_mode) && is_in_use(c, &p))
                return -EBUSY;
        r = file_remove_at(dir, name, true, c->cancel, NULL);
        return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

/* Returns an outcome, or 0. */
static int remove_noted(struct collection *c, const struct record *record, bool *ret_is_removed,
                        struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(place_done) struct place p = PLACE_INIT;
        CLEANUP(mem_free) char *path = xstrndup(record->path, record->path_size);
        int r;

        *ret_is_removed = false;
        r = roots_enter(c->roots, &scope, path, err);
        if (r == 0)
                r = place_find(c->roots, path, PLACE_FOLLOW, 0, &p, err);
        if (r != 0)
                return r;
        if (!S_ISDIR(p.st.st_mode))
                return files_fail(err, FILES_E_NOT_DIRECTORY, path);
        r = remove_entry(c, p.fd, record->name);
        *ret_is_removed = r > 0;
        return r < 0 ? files_fail_errno(err, r, path) : 0;
}

/* Will the next agent fare no better? */
static bool is_final(int outcome)
{
        switch (outcome) {
        case 0:
        case FILES_E_NOT_FOUND:
        case FILES_E_NO_DIRECTORY:
        case FILES_E_NOT_DIRECTORY:
        case FILES_E_NOT_ALLOWED:
        case FILES_E_TOO_LONG:
        case FILES_E_INVALID:
        case FILES_E_LOOP:
                return true;
        default:
                return false;
        }
}

/* See the header. */
unsigned unfinished_collect(struct unfinished *u, const struct roots *roots,
                            const atomic_bool *cancel, unsigned *ret_left)
{
        CLEANUP(mem_free) struct record *record = xnew(struct record);
        struct collection c = { .roots = roots, .cancel = cancel, .n_tries = LOCK_TRIES };
        unsigned n_removed = 0;

        *ret_left = 0;
        for (size_t i = 0; i < UNFINISHED_N_SLOTS; i++) {
                struct error err = ERROR_INIT;
                bool is_removed = false;
                int r = 0;

                if (!u->is_old[i])
                        continue;
                if (is_cancelled(&c))
                        r = FILES_E_CANCELLED;
                else if (read_slot(u, i, record))
                        r = remove_noted(&c, record, &is_removed, &err);
                n_removed += is_removed;
                *ret_left += !is_final(r);
                if (!is_final(r))
                        continue;
                u->is_old[i] = false;
                free_slot(u, i);
        }
        return n_removed;
}
