/* SPDX-License-Identifier: Apache-2.0 */

/* The journal is the program's and not an argument: names are made in many places, and who makes one must not be able
 * to leave it out. The lock tells work in progress from what was left: unlike a time or a process's number it
 * cannot be mistaken, and the kernel gives it up together with the last descriptor. */

#include "agent/files/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/base/id.h"
#include "agent/base/str.h"
#include "agent/files/remove.h"
#include "agent/files/unfinished.h"

#define PREFIX   ".vm-agent-tmp-"
#define N_DIGITS 24

static struct unfinished *_Atomic journal;

/* See the header. */
const char *temporary_name(char dst[TEMPORARY_NAME_SIZE])
{
        char id[ID_SIZE];

        (void)snprintf(dst, TEMPORARY_NAME_SIZE, PREFIX "%s", id_new(id, ""));
        return dst;
}

/* See the header. */
bool temporary_is_name(const char *name)
{
        const char *digits = name + strlen(PREFIX);

        return str_has_prefix(name, PREFIX) && strlen(digits) == N_DIGITS &&
               strspn(digits, "0123456789abcdef") == N_DIGITS;
}

/* See the header. */
void temporary_set_journal(struct unfinished *j)
{
        atomic_store(&journal, j);
}

static void note_new_name(int dir, char name[TEMPORARY_NAME_SIZE])
{
        struct unfinished *j = atomic_load(&journal);

        (void)temporary_name(name);
        if (j)
                unfinished_note(j, dir, name);
}

/* See the header. */
void temporary_forget(const char *name)
{
        struct unfinished *j = atomic_load(&journal);

        if (j)
                unfinished_forget(j, name);
}

/* See the header. */
int temporary_make_file(int dir, unsigned mode, char ret_name[TEMPORARY_NAME_SIZE])
{
        int fd;

        note_new_name(dir, ret_name);
        fd = openat(dir, ret_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY,
                    mode);
        if (fd < 0) {
                int r = -errno;

                temporary_forget(ret_name);
                return r;
        }
        (void)flock(fd, LOCK_EX | LOCK_NB); /* without locks it is the journal alone that tells */
        return fd;
}

/* See the header. */
int temporary_make_directory(int dir, char ret_name[TEMPORARY_NAME_SIZE])
{
        int fd, r;

        note_new_name(dir, ret_name);
        if (mkdirat(dir, ret_name, S_IRWXU) < 0) {
                r = -errno;
                temporary_forget(ret_name);
                return r;
        }
        fd = openat(dir, ret_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) {
                r = -errno;
                temporary_remove(dir, ret_name);
                return r;
        }
        (void)flock(fd, LOCK_EX | LOCK_NB); /* as above */
        return fd;
}

/* See the header. */
int temporary_make_link(int dir, const char *target, char ret_name[TEMPORARY_NAME_SIZE])
{
        note_new_name(dir, ret_name);
        if (symlinkat(target, dir, ret_name) < 0) {
                int r = -errno;

                temporary_forget(ret_name);
                return r;
        }
        return 0;
}

/* See the header. */
void temporary_remove(int dir, const char *name)
{
        int r = file_remove_at(dir, name, true, NULL, NULL);

        if (r == 0 || r == -ENOENT)
                temporary_forget(name);
}

/* See the header. */
bool temporary_is_locked(int fd)
{
        return flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}
