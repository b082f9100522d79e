/* SPDX-License-Identifier: Apache-2.0 */

/* libarchive could do this on its way to the entries, but not within limits. An xz archive says how much memory it
 * wants, and the library gives it up to 1 GiB: so xz is unpacked by liblzma itself, which can be told not to. And what
 * is unpacked has to come in pieces to whoever counts it: one piece of gzip can be a thousand times as large, and the
 * library would take it for the header of a single entry. So it sees the archive's own bytes only.
 *
 * The other filters are libarchive's: gzip needs 32 KiB, bzip2 4 MiB. zstd does what its own library does by default,
 * up to 128 MiB. */

#include "handlers/files/unpack_filter.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>
#include <lzma.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"

#define BLOCK    (64 * KIB)
#define XZ_MAGIC "\3757zXZ"

struct unpack_filter {
        ssize_t (*read)(void *arg, const void **ret);
        void *arg;
        int r; /* what that failed with */
        bool is_over;

        struct archive *archive; /* NULL: it is xz */
        bool is_open;

        lzma_stream xz;
        bool is_last; /* all that was packed has been read */
        uint8_t *block;
};

/* --- life --- */

/* Switches on what the library can do by itself: it would start other programs for the rest. */
static void support(struct archive *a, int (*filter)(struct archive *))
{
        struct archive *trial = archive_read_new();

        if (trial && filter(trial) == ARCHIVE_OK)
                (void)filter(a); /* as it did */
        if (trial)
                (void)archive_read_free(trial);
}

static bool prepare_xz(struct unpack_filter *f)
{
        f->block = try_alloc(BLOCK);
        return f->block &&
               lzma_stream_decoder(&f->xz, LIMIT_EXTRACT_WINDOW, LZMA_CONCATENATED) == LZMA_OK;
}

static bool prepare_others(struct unpack_filter *f)
{
        struct archive *a = archive_read_new();

        if (!a)
                return false;
        f->archive = a;
        support(a, archive_read_support_filter_gzip);
        support(a, archive_read_support_filter_bzip2);
        support(a, archive_read_support_filter_zstd);
        return archive_read_support_format_raw(a) == ARCHIVE_OK;
}

/* See the header. */
struct unpack_filter *unpack_filter_new(const struct buf *head,
                                        ssize_t (*read)(void *arg, const void **ret), void *arg)
{
        struct unpack_filter *f = xnew(struct unpack_filter);
        size_t size = strlen(XZ_MAGIC);
        bool is_xz = head->size >= size && memcmp(head->data, XZ_MAGIC, size) == 0;

        *f = (struct unpack_filter){ .read = read, .arg = arg, .xz = LZMA_STREAM_INIT };
        return (is_xz ? prepare_xz(f) : prepare_others(f)) ? f : unpack_filter_free(f);
}

/* See the header. */
struct unpack_filter *unpack_filter_free(struct unpack_filter *f)
{
        if (!f)
                return NULL;
        if (f->archive)
                (void)archive_read_free(f->archive);
        lzma_end(&f->xz);
        free(f->block);
        free(f);
        return NULL;
}

/* --- xz --- */

static int xz_failed(struct unpack_filter *f, lzma_ret r, struct error *err)
{
        if (r == LZMA_MEM_ERROR)
                return -ENOMEM;
        if (r != LZMA_MEMLIMIT_ERROR)
                return error_set_field(err, -EBADMSG, "", "its xz data is %s",
                                       r == LZMA_BUF_ERROR ? "incomplete" : "wrong");
        return error_set_field(err, -EFBIG, "",
                               "the archive takes %llu MiB of memory to unpack, more than %llu: "
                               "pack it with a smaller dictionary",
                               (unsigned long long)(lzma_memusage(&f->xz) / MIB) + 1,
                               (unsigned long long)(LIMIT_EXTRACT_WINDOW / MIB));
}

static ssize_t read_xz(struct unpack_filter *f, const void **ret, struct error *err)
{
        lzma_ret r = LZMA_OK;

        f->xz.next_out = f->block;
        f->xz.avail_out = BLOCK;
        while (r == LZMA_OK && f->xz.avail_out > 0) {
                if (f->xz.avail_in == 0 && !f->is_last) {
                        const void *data;
                        ssize_t n = f->read(f->arg, &data);

                        if (n < 0)
                                return n;
                        f->xz.next_in = data;
                        f->xz.avail_in = (size_t)n;
                        f->is_last = n == 0;
                }
                r = lzma_code(&f->xz, f->is_last ? LZMA_FINISH : LZMA_RUN);
        }
        f->is_over = r == LZMA_STREAM_END;
        if (r != LZMA_OK && r != LZMA_STREAM_END)
                return xz_failed(f, r, err);
        *ret = f->block;
        return (ssize_t)(BLOCK - f->xz.avail_out);
}

/* --- the others --- */

static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
        struct unpack_filter *f = arg;
        ssize_t n = f->read(f->arg, ret);

        if (n >= 0)
                return n;
        f->r = (int)n;
        archive_set_error(a, -f->r, "stopped");
        return -1;
}

/* What the library says is wrong. */
static int failed(struct unpack_filter *f, struct error *err)
{
        const char *why = archive_error_string(f->archive);

        if (f->r < 0)
                return f->r;
        if (archive_errno(f->archive) == ENOMEM)
                return -ENOMEM;
        if (why && strstr(why, "too much memory")) /* says zstd */
                return error_set_field(
                        err, -EFBIG, "",
                        "the archive takes too much memory to unpack: pack it with a "
                        "smaller window");
        return error_set_field(err, -EBADMSG, "", "%s", why ? why : "for unknown reasons");
}

static int open_others(struct unpack_filter *f, struct error *err)
{
        struct archive_entry *ignored;
        int r;

        f->is_open = true;
        if (archive_read_open(f->archive, f, NULL, on_read, NULL) != ARCHIVE_OK)
                return failed(f, err);
        r = archive_read_next_header(f->archive, &ignored);
        if (r == ARCHIVE_EOF) {
                f->is_over = true;
                return 0;
        }
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
                return failed(f, err);
        if (archive_filter_count(f->archive) > 2) /* the last is none */
                return error_set_field(err, -EBADMSG, "", "it is packed more than once");
        return 0;
}

static ssize_t read_others(struct unpack_filter *f, const void **ret, struct error *err)
{
        la_int64_t at;
        size_t n = 0;
        int r = f->is_open ? 0 : open_others(f, err);

        if (r < 0)
                return r;
        while (n == 0 && !f->is_over) {
                r = archive_read_data_block(f->archive, ret, &n, &at);
                f->is_over = r == ARCHIVE_EOF;
                if (r != ARCHIVE_OK && r != ARCHIVE_EOF)
                        return failed(f, err);
        }
        return f->is_over ? 0 : (ssize_t)n;
}

/* See the header. */
ssize_t unpack_filter_read(struct unpack_filter *f, const void **ret, struct error *err)
{
        if (f->is_over)
                return 0;
        return f->archive ? read_others(f, ret, err) : read_xz(f, ret, err);
}
