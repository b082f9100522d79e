/* SPDX-License-Identifier: Apache-2.0 */

/* One table leads from errno to outcomes, one from outcomes to sentences. A path can be longer than a message: then its
 * beginning and its end are shown, cut between characters. */

#include "agent/files/outcome.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"
#include "agent/base/utf8.h"

#define SHOWN_HEAD 100 /* bytes of a long path */
#define SHOWN_TAIL 60

static const char *const sentences[] = {
        [FILES_E_NOT_FOUND] = "File not found: %s",
        [FILES_E_NO_DIRECTORY] = "Directory not found: %s",
        [FILES_E_NOT_ALLOWED] = "Path is outside the allowed directories: %s",
        [FILES_E_DENIED] = "Permission denied: %s",
        [FILES_E_EXISTS] = "File already exists: %s",
        [FILES_E_IS_DIRECTORY] = "Is a directory: %s",
        [FILES_E_NOT_DIRECTORY] = "Not a directory: %s",
        [FILES_E_NOT_EMPTY] = "Directory is not empty: %s",
        [FILES_E_SPECIAL] = "FIFOs, sockets and devices are not supported: %s",
        [FILES_E_TOO_LONG] = "Path or file name is too long: %s",
        [FILES_E_INVALID] = "Invalid path: %s",
        [FILES_E_TOO_LARGE] = "File is too large: %s",
        [FILES_E_NO_SPACE] = "No space left on the device: %s",
        [FILES_E_READ_ONLY] = "Read-only file system: %s",
        [FILES_E_TOO_MANY_FILES] = "Too many open files: %s",
        [FILES_E_LOOP] = "Too many levels of symbolic links: %s",
        [FILES_E_BUSY] = "Mount point or busy: %s",
        [FILES_E_CANCELLED] = "Cancelled: %s",
};

static const struct {
        int error;
        enum files_outcome outcome;
} outcomes[] = {
        { ENOENT, FILES_E_NOT_FOUND },
        { EACCES, FILES_E_DENIED },
        { EPERM, FILES_E_DENIED },
        { EEXIST, FILES_E_EXISTS },
        { EISDIR, FILES_E_IS_DIRECTORY },
        { ENOTDIR, FILES_E_NOT_DIRECTORY },
        { ENOTEMPTY, FILES_E_NOT_EMPTY },
        { ENXIO, FILES_E_SPECIAL },
        { ENAMETOOLONG, FILES_E_TOO_LONG },
        { EINVAL, FILES_E_INVALID },
        { EILSEQ, FILES_E_INVALID }, /* a file system that wants UTF-8 */
        { EFBIG, FILES_E_TOO_LARGE },
        { ENOSPC, FILES_E_NO_SPACE },
        { EDQUOT, FILES_E_NO_SPACE },
        { EROFS, FILES_E_READ_ONLY },
        { EMFILE, FILES_E_TOO_MANY_FILES },
        { ENFILE, FILES_E_TOO_MANY_FILES },
        { ELOOP, FILES_E_LOOP },
        { EBUSY, FILES_E_BUSY },
        { EXDEV, FILES_E_BUSY },  /* of a tree: something is mounted in it */
        { ESTALE, FILES_E_BUSY }, /* of a tree: it was moved during a walk */
        { ETXTBSY, FILES_E_BUSY },
        { ECANCELED, FILES_E_CANCELLED },
};

#define SHOWN_SIZE (SHOWN_HEAD + SHOWN_TAIL + 8)

/* @path, or its two ends, well-formed: a message that ends with half a character would lose it. */
static const char *shorten(const char *path, char dst[SHOWN_SIZE])
{
        size_t size = strlen(path);
        size_t head, tail;

        if (size <= SHOWN_HEAD + SHOWN_TAIL) {
                (void)snprintf(dst, SHOWN_SIZE, "%s.", path);
        } else {
                head = utf8_complete_prefix(path, SHOWN_HEAD);
                tail = size - SHOWN_TAIL;
                while (tail < size && ((unsigned char)path[tail] & 0xC0) == 0x80)
                        tail++;
                (void)snprintf(dst, SHOWN_SIZE, "%.*s...%s.", (int)head, path, path + tail);
        }
        utf8_repair(dst); /* nothing is incomplete in front of the point */
        dst[strlen(dst) - 1] = '\0';
        return dst;
}

/* See the header. */
int files_fail(struct error *err, enum files_outcome outcome, const char *path)
{
        char text[SHOWN_SIZE];

        assert(outcome > 0 && outcome < FILES_E_OTHER);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* from the table above */
        return error_set(err, (int)outcome, sentences[outcome], shorten(path, text));
#pragma GCC diagnostic pop
}

/* See the header. */
int files_fail_saying(struct error *err, enum files_outcome outcome, const char *sentence,
                      const char *path)
{
        char text[SHOWN_SIZE];

        return error_set(err, (int)outcome, "%s: %s", sentence, shorten(path, text));
}

/* See the header. */
enum files_outcome files_outcome(int error)
{
        for (size_t i = 0; i < ARRAY_LEN(outcomes); i++)
                if (outcomes[i].error == -error)
                        return outcomes[i].outcome;
        return FILES_E_OTHER;
}

/* See the header. */
int files_fail_errno(struct error *err, int error, const char *path)
{
        char text[SHOWN_SIZE];
        enum files_outcome outcome = files_outcome(error);

        assert(error < 0);
        if (outcome != FILES_E_OTHER)
                return files_fail(err, outcome, path);
        (void)error_set(err, error, "%s", shorten(path, text));
        err->code = FILES_E_OTHER;
        return FILES_E_OTHER;
}

/* See the header. */
int files_fail_entry(struct error *err, int error, const char *path, const char *entry)
{
        CLEANUP(mem_free) char *full = NULL;
        size_t size = strlen(path);

        if (!entry)
                return files_fail_errno(err, error, path);
        while (size > 0 && path[size - 1] == '/')
                size--;
        full = xasprintf("%.*s/%s", (int)size, path, entry);
        return files_fail_errno(err, error, full);
}

/* See the header. */
int files_want_directory(int r, struct error *err, const char *path)
{
        return r == FILES_E_NOT_FOUND ? files_fail(err, FILES_E_NO_DIRECTORY, path) : r;
}
