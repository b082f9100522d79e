/* SPDX-License-Identifier: Apache-2.0 */

/* libarchive takes the bytes apart, and knows nothing of files: it is never given a name or a descriptor of the
 * target. Of its formats only those are switched on that are promised.
 *
 * A tar archive is read as it comes, through unpack_filter.h. The library keeps an entry's header in memory, however
 * long it is (the list of a sparse file's pieces), so what it reads at once is counted. In a zip archive each entry can
 * ask for as much memory as it likes by the method it is packed by, so only the usual ones may be used; and what the
 * entries are, and with which mode, stands at its end only, so one is spooled into a file without a name first.
 *
 * The program's locale is "C", in which libarchive hands out the bytes of a tar archive's names as they are; it warns
 * about that. Names in a zip archive that are marked as UTF-8 it hands out in a locale of UTF-8 only, and composed
 * (NFC). */

#include "handlers/files/unpack_archive.h"

#include <errno.h>
#include <locale.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/files/temporary.h"
#include "handlers/files/unpack_filter.h"
#include "handlers/files/unpack_name.h"

#define BLOCK        (64 * KIB)
#define MAX_HEAD     512                 /* is enough to tell a format */
#define HEADER_BYTES ((uint64_t)4 * KIB) /* of an entry, besides its content: more is a bomb */

struct unpack_archive {
        struct unpack_options options;
        struct archive *archive;
        struct buf head; /* the first bytes */
        bool has_head;   /* they were read */
        bool is_over;    /* nothing of it is to be read */
        struct unpack_filter *filter;
        uint64_t n_read;      /* that came out of it */
        uint64_t header_left; /* bytes that may be read before there is content */
        int spool;            /* of a zip archive, or -1 */
        uint64_t index_left;  /* bytes of it that may be read before the first entry */
        char *block;
        locale_t locale; /* for the names, or 0 */
        int r;           /* why on_read failed, and that in words */
        struct error err;
        uint64_t n_entries;
};

/* See the header. */
struct unpack_archive *unpack_archive_new(const struct unpack_options *o)
{
        struct unpack_archive *u = xnew(struct unpack_archive);

        u->options = *o;
        u->spool = -1;
        u->block = try_alloc(BLOCK);
        u->archive = archive_read_new();
        return u->block && u->archive ? u : unpack_archive_free(u);
}

/* See the header. */
struct unpack_archive *unpack_archive_free(struct unpack_archive *u)
{
        if (!u)
                return NULL;
        if (u->archive)
                (void)archive_read_free(u->archive);
        (void)unpack_filter_free(u->filter);
        if (u->locale)
                freelocale(u->locale);
        (void)fd_close(u->spool);
        buf_done(&u->head);
        free(u->block);
        free(u);
        return NULL;
}

/* Collects the archive's first bytes. */
static int read_head(struct unpack_archive *u)
{
        while (u->head.size < MAX_HEAD) {
                const void *data;
                ssize_t n = u->options.read(u->options.arg, &data);
                int r;

                if (n <= 0)
                        return (int)n;
                r = buf_append(&u->head, data, (size_t)n);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int spool(struct unpack_archive *u, int dir)
{
        char name[TEMPORARY_NAME_SIZE];
        int r;

        u->spool = temporary_make_file(dir, 0600, name);
        if (u->spool < 0)
                return u->spool;
        temporary_remove(dir, name);
        r = fd_write_all(u->spool, u->head.data, u->head.size);
        while (r == 0) {
                const void *data;
                ssize_t n = u->options.read(u->options.arg, &data);

                if (n <= 0)
                        return (int)n;
                r = fd_write_all(u->spool, data, (size_t)n);
        }
        return r;
}

static la_ssize_t stop(struct unpack_archive *u, int r)
{
        u->r = r;
        archive_set_error(u->archive, -r, "stopped");
        return -1;
}

/* The packed bytes, from the first on. */
static ssize_t read_packed(void *arg, const void **ret)
{
        struct unpack_archive *u = arg;

        if (u->has_head)
                return u->options.read(u->options.arg, ret);
        u->has_head = true;
        *ret = u->head.data;
        return (ssize_t)u->head.size;
}

static bool is_zero(const char *data, size_t size)
{
        return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* Counts what is unpacked, also what is no content of a file. What follows the last entry are zeros, as many as the
 * writer liked. */
static int count(struct unpack_archive *u, const char *data, size_t size)
{
        uint64_t max = u->options.max_size;

        u->n_read += size;
        if (max > 0 && max < UINT64_MAX / 2 &&
            u->n_read > max + LIMIT_EXTRACT_ENTRIES * HEADER_BYTES)
                return error_set_field(&u->err, -EFBIG, "", "the archive unpacks to too much");
        if (is_zero(data, size))
                return 0;
        if (u->header_left < size)
                return error_set_field(&u->err, -EFBIG, "",
                                       "an entry's header has more than %llu bytes",
                                       (unsigned long long)LIMIT_EXTRACT_HEADER);
        u->header_left -= size;
        return 0;
}

static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
        struct unpack_archive *u = arg;
        int r = u->options.step(u->options.arg);
        ssize_t n;

        (void)a;
        if (r < 0)
                return stop(u, r);
        n = unpack_filter_read(u->filter, ret, &u->err);
        if (n > 0) {
                r = count(u, *ret, (size_t)n);
                return r < 0 ? stop(u, r) : n;
        }
        return n < 0 ? stop(u, (int)n) : 0;
}

static la_ssize_t on_read_spool(struct archive *a, void *arg, const void **ret)
{
        struct unpack_archive *u = arg;
        int r = u->options.step(u->options.arg);
        ssize_t n;

        (void)a;
        if (r < 0)
                return stop(u, r);
        if (u->n_entries == 0 && u->index_left < BLOCK)
                return stop(u,
                            error_set_field(&u->err, -EFBIG, "",
                                            "the archive's own directory has more than %llu bytes",
                                            (unsigned long long)LIMIT_EXTRACT_INDEX));
        u->index_left -= u->n_entries == 0 ? BLOCK : 0;
        do
                n = read(u->spool, u->block, BLOCK);
        while (n < 0 && errno == EINTR);
        *ret = u->block;
        return n < 0 ? stop(u, -errno) : n;
}

static la_int64_t on_seek(struct archive *a, void *arg, la_int64_t offset, int whence)
{
        const struct unpack_archive *u = arg;
        off_t at = lseek(u->spool, offset, whence);

        (void)a;
        return at < 0 ? ARCHIVE_FATAL : at;
}

static int open_stream(struct unpack_archive *u)
{
        struct archive *a = u->archive;

        u->filter = unpack_filter_new(&u->head, read_packed, u);
        if (!u->filter || archive_read_support_format_tar(a) != ARCHIVE_OK)
                return -ENOMEM;
        u->header_left = LIMIT_EXTRACT_HEADER;
        /* So the whole is read, and checksums at its end are compared. */
        (void)archive_read_set_format_option(a, "tar", "read_concatenated_archives", "1");
        return archive_read_open(a, u, NULL, on_read, NULL) == ARCHIVE_OK ? 0 : -EBADMSG;
}

static int open_zip(struct unpack_archive *u, int dir)
{
        struct archive *a = u->archive;
        int r = spool(u, dir);

        if (r < 0)
                return r;
        if (lseek(u->spool, 0, SEEK_SET) < 0)
                return -errno;
        u->index_left = LIMIT_EXTRACT_INDEX;
        if (archive_read_support_format_zip_seekable(a) != ARCHIVE_OK ||
            archive_read_set_read_callback(a, on_read_spool) != ARCHIVE_OK ||
            archive_read_set_seek_callback(a, on_seek) != ARCHIVE_OK ||
            archive_read_set_callback_data(a, u) != ARCHIVE_OK)
                return -ENOMEM;
        return archive_read_open1(a) == ARCHIVE_OK ? 0 : -EBADMSG;
}

/* What the library says is wrong. */
static int damaged(const struct unpack_archive *u, struct error *err)
{
        const char *why = u->r < 0 ? u->err.message : archive_error_string(u->archive);
        char shown[UNPACK_NAME_SHOWN];

        if (u->r < 0 && u->r != -EBADMSG) {
                *err = u->err;
                return u->r;
        }
        if (u->r == 0 && archive_errno(u->archive) == ENOMEM)
                return -ENOMEM;
        return error_set_field(err, -EBADMSG, "", "%s: %s",
                               u->n_entries > 0 ? "the archive is damaged"
                                                : "this is no archive that can be unpacked",
                               unpack_name_show(why ? why : "for unknown reasons", shown));
}

static bool begins(const struct unpack_archive *u, const char *text, size_t size)
{
        return u->head.size >= size && memcmp(u->head.data, text, size) == 0;
}

/* See the header. */
int unpack_archive_open(struct unpack_archive *u, int dir, struct error *err)
{
        bool is_zip;
        int r = read_head(u);

        if (r < 0)
                return r;
        if (u->head.size == 0)
                return error_set_field(err, -EBADMSG, "", "the archive is empty: it has no bytes");
        u->is_over = begins(u, "PK\5\6", 4); /* an empty one, which the library does not know */
        is_zip = u->is_over || begins(u, "PK\3\4", 4) || begins(u, "PK\7\10", 4) ||
                 begins(u, "PK00PK\3\4", 8);
        r = is_zip ? open_zip(u, dir) : open_stream(u);
        if (r == -EBADMSG && !u->is_over)
                return damaged(u, err);
        if (is_zip)
                u->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
        return u->is_over ? 0 : r;
}

/* Is the entry of a zip archive packed by one of the usual methods? The others take up to gigabytes of memory, and
 * nobody limits that. */
static bool is_usual(struct unpack_archive *u)
{
        static const char *const usual[] = { "(uncompressed)", "(deflation)", "(bzip)" };
        const char *format = archive_format_name(u->archive);

        for (size_t i = 0; format && i < ARRAY_LEN(usual); i++)
                if (strstr(format, usual[i]))
                        return true;
        return false;
}

/* See the header. */
int unpack_archive_next(struct unpack_archive *u, struct archive_entry **ret, struct error *err)
{
        char shown[UNPACK_NAME_SHOWN];
        const char *name;
        locale_t own;
        int r;

        if (u->is_over)
                return 0;
        u->header_left = LIMIT_EXTRACT_HEADER;
        own = uselocale(u->locale); /* of this thread; as it is if there is none */
        r = archive_read_next_header(u->archive, ret);
        (void)uselocale(own);
        if (r == ARCHIVE_EOF)
                return 0;
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
                return damaged(u, err);
        u->header_left = UINT64_MAX;
        name = archive_entry_pathname(*ret);
        if (u->spool >= 0 && !is_usual(u) && !archive_entry_is_encrypted(*ret))
                return error_set_field(
                        err, -EBADMSG, "",
                        "entry %s is packed by another method than deflate and bzip2",
                        unpack_name_show(name ? name : "", shown));
        u->n_entries++;
        return 1;
}

/* See the header. */
int unpack_archive_read(struct unpack_archive *u, const void **ret, size_t *ret_size,
                        uint64_t *ret_at, struct error *err)
{
        la_int64_t at;
        int r = archive_read_data_block(u->archive, ret, ret_size, &at);

        if (r == ARCHIVE_EOF)
                return 0;
        if (r != ARCHIVE_OK)
                return damaged(u, err);
        if (at < 0)
                return error_set_field(err, -EBADMSG, "", "the archive is damaged");
        *ret_at = (uint64_t)at;
        return 1;
}
