/* SPDX-License-Identifier: Apache-2.0 */

/* chmod and chown of what was checked: by its descriptor, never by a name. The owner comes first, because changing it
 * takes set-ID bits away.
 *
 * On the way through a tree a directory gets its new mode before it is entered, since that may be what lets us in; or
 * behind its content, when it would keep us out. Which of them it is, is seen again from the mode, as changes that are
 * made twice make no difference. */

#include "agent/files/change.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/temporary.h"
#include "agent/files/walk.h"

#define ALL     07777
#define SET_ID  (S_ISUID | S_ISGID)
#define EXECUTE (S_IXUSR | S_IXGRP | S_IXOTH)
#define ENTER   (S_IRUSR | S_IXUSR) /* what its owner needs to go through a directory */

/* --- letters --- */

static mode_t parse_who(const char **p)
{
        mode_t who = 0;

        for (;; (*p)++) {
                switch (**p) {
                case 'u':
                        who |= S_ISUID | S_IRWXU;
                        break;
                case 'g':
                        who |= S_ISGID | S_IRWXG;
                        break;
                case 'o':
                        who |= S_ISVTX | S_IRWXO;
                        break;
                case 'a':
                        who |= ALL;
                        break;
                default:
                        return who ? who : ALL;
                }
        }
}

static mode_t parse_what(const char **p, bool has_execute)
{
        mode_t what = 0;

        for (;; (*p)++) {
                switch (**p) {
                case 'r':
                        what |= S_IRUSR | S_IRGRP | S_IROTH;
                        break;
                case 'w':
                        what |= S_IWUSR | S_IWGRP | S_IWOTH;
                        break;
                case 'x':
                        what |= EXECUTE;
                        break;
                case 'X':
                        what |= has_execute ? EXECUTE : 0;
                        break;
                case 's':
                        what |= SET_ID;
                        break;
                case 't':
                        what |= S_ISVTX;
                        break;
                default:
                        return what;
                }
        }
}

/* See the header. */
int file_mode_apply(const char *symbols, mode_t mode, bool is_directory, mode_t *ret)
{
        bool has_execute = is_directory || (mode & EXECUTE);

        mode &= ALL;
        for (const char *p = symbols;; p++) {
                mode_t who = parse_who(&p);

                if (!*p || !strchr("+-=", *p))
                        return -EINVAL;
                while (*p && strchr("+-=", *p)) {
                        char operation = *p++;
                        const char *letters = p;
                        mode_t what = parse_what(&p, has_execute);
                        mode_t cleared = operation == '=' ? who : what & who;

                        if (operation != '=' && p == letters)
                                return -EINVAL;
                        if (is_directory && !(what & SET_ID))
                                cleared &= ~(mode_t)SET_ID;
                        mode = operation == '+' ? mode : mode & ~cleared;
                        mode = operation == '-' ? mode : mode | (what & who);
                }
                if (!*p)
                        break;
                if (*p != ',')
                        return -EINVAL;
        }
        *ret = mode;
        return 0;
}

/* --- one thing --- */

struct work {
        const struct file_change *change;
        const char *top; /* what the client calls it */
        uint64_t n;
        int failure;  /* the first one */
        char *failed; /* whose it is; NULL: the top's */
};

static bool wants_mode(const struct file_change *c, const struct stat *st)
{
        return (c->has_mode || c->symbols) && !S_ISLNK(st->st_mode);
}

static mode_t mode_after(const struct file_change *c, const struct stat *st)
{
        mode_t mode = st->st_mode & ALL;

        if (!wants_mode(c, st))
                return mode;
        if (!c->symbols)
                return c->mode & ALL;
        (void)file_mode_apply(c->symbols, mode, S_ISDIR(st->st_mode), &mode); /* checked before */
        return mode;
}

/* In a tree what is as it should be already is left alone, and its time of change with it. */
static int change(struct work *w, int fd, const struct stat *st)
{
        const struct file_change *c = w->change;
        char path[PLACE_FD_PATH_SIZE];
        mode_t mode = mode_after(c, st);
        bool wants_owner = c->uid != (uid_t)-1 || c->gid != (gid_t)-1;
        bool is_other = (c->uid != (uid_t)-1 && c->uid != st->st_uid) ||
                        (c->gid != (gid_t)-1 && c->gid != st->st_gid);
        bool is_different = is_other || mode != (st->st_mode & ALL);

        if (c->is_recursive && !is_different)
                return 0;
        if (wants_owner && fchownat(fd, "", c->uid, c->gid, AT_EMPTY_PATH) < 0)
                return -errno;
        if (wants_mode(c, st) && chmod(place_fd_path(fd, path), mode) < 0)
                return -errno;
        w->n += is_different;
        return 0;
}

/* --- trees --- */

static void note(struct work *w, int r, const struct walk_entry *e)
{
        if (r == 0 || r == -ENOENT || w->failure < 0)
                return;
        w->failure = r;
        w->failed = e ? xasprintf("%s/%s", w->top, e->path) : NULL;
}

/* Changes it if this is the time to. */
static int visit(struct work *w, const struct walk_entry *e, bool is_leaving)
{
        CLEANUP(fd_close) int fd = openat(e->dir, e->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode) && is_leaving == ((mode_after(w->change, &st) & ENTER) == ENTER))
                return 0;
        return change(w, fd, &st);
}

static int on_entry(void *data, const struct walk_entry *e)
{
        if (temporary_is_name(e->name))
                return 0;
        note(data, visit(data, e, false), e);
        return e->type == DT_DIR ? WALK_DESCEND : 0;
}

static int on_leave(void *data, const struct walk_entry *e)
{
        note(data, visit(data, e, true), e);
        return 0;
}

static int on_failure(void *data, const struct walk_entry *e, int error)
{
        note(data, error, e);
        return on_leave(data, e);
}

/* The same as for any directory on the way, but this one is held. */
static int change_tree(struct work *w, const struct place *p)
{
        const struct file_change *c = w->change;
        bool is_first = (mode_after(c, &p->st) & ENTER) == ENTER;
        struct walk_options o = { .cancel = c->cancel,
                                  .on_entry = on_entry,
                                  .on_leave = on_leave,
                                  .on_failure = on_failure,
                                  .data = w };
        CLEANUP(fd_close) int fd = -1;
        int r = 0;

        if (is_first)
                note(w, change(w, p->fd, &p->st), NULL);
        fd = place_open(p, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                note(w, fd, NULL);
        else
                r = walk_tree(fd, &o);
        if (r == 0 && !is_first)
                note(w, change(w, p->fd, &p->st), NULL);
        return r < 0 ? r : w->failure;
}

/* See the header. */
int file_change(const struct roots *roots, const char *path, const struct file_change *c,
                uint64_t *ret, struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(place_done) struct place p = PLACE_INIT;
        struct work w = { .change = c, .top = path };
        int r;

        *ret = 0;
        r = roots_enter(roots, &scope, path, err);
        if (r == 0)
                r = place_find(roots, path, PLACE_FOLLOW, 0, &p, err);
        if (r != 0)
                return r;
        r = c->is_recursive && S_ISDIR(p.st.st_mode) ? change_tree(&w, &p)
                                                     : change(&w, p.fd, &p.st);
        *ret = w.n;
        if (r < 0)
                r = files_fail_errno(err, r, r == w.failure && w.failed ? w.failed : path);
        free(w.failed);
        return r;
}
