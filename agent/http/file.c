/* SPDX-License-Identifier: Apache-2.0 */

/* Files by sendfile, without waiting for the disk on the loop.
 *
 * MHD calls sendfile itself, with up to 128 KiB at a time, and does not let anybody see or hold up what it sends.
 * But it calls it as a function of the C library, so this program's definition takes precedence (ELF symbol
 * interposition, as in refusal.c), and that is where the rest happens:
 *
 * - What is not in the page cache is not sent. The connection is suspended, a worker reads a window of the file
 *   (into the cache: what it reads is thrown away), and MHD tries again. Once a file has turned out to be cold the
 *   next window is read while this one is sent. What is in the cache is asked once per 1 MiB: by cachestat, which
 *   costs about a hundredth of the sending, or where there is no such call, or the file is cold, by mincore, which
 *   costs a tenth, because it looks for every page by itself.
 * - A short write is always followed by another one that fails with EAGAIN. MHD takes it as a full socket and
 *   waits for an edge, which would never come if the call was short for another reason, such as a signal.
 * - When there is nothing more in the file MHD would wait for such an edge, too. Here the connection is closed.
 * - Bytes are counted for the access log.
 *
 * With a library that does not call sendfile that way files are sent all the same, without these. */

#include "agent/http/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define LOG_MODULE "http"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/log.h"
#include "agent/http/file_private.h"
#include "agent/http/request_private.h"
#include "agent/http/server.h"
#include "agent/http/server_private.h"
#include "agent/loop/job.h"

#define PROBE        (1 * MIB)   /* that is asked for at once */
#define SAMPLE       (128 * KIB) /* the system reads ahead about as much at once */
#define WINDOW_FIRST (256 * KIB) /* a small one, so that the first byte leaves soon */
#define WINDOW_MAX   (4 * MIB)
#define PIECE        (128 * KIB) /* of a worker's reads */
#define TRUST_MS     2000        /* then memory pressure may have taken the pages back */
#define MAX_READERS  2           /* worker threads that read for all answers together */

struct file {
        struct request *req; /* the owner; NULL: it is over, and the worker's end frees */
        struct loop *loop;
        struct MHD_Response *response; /* keeps fd open; NULL: not made yet, and fd is ours */
        int fd;
        uint64_t offset;
        uint64_t end;
        uint64_t ready; /* up to here it is in the page cache, as far as is known */
        uint64_t ready_ms;
        uint64_t window;   /* that is read next */
        bool is_cold;      /* it had to be read from the disk */
        bool is_awaited;   /* the request is suspended until it is ready */
        bool is_lost;      /* it cannot be read, or is shorter than was promised */
        bool is_reading;   /* a worker has, or will get, from … to */
        bool is_queued;    /* it has no worker yet */
        struct list queue; /* readers.waiting */
        uint64_t from, to;
        int error; /* of the worker */
};

/* Of this thread only: libuv's workers call sendfile as well. */
static _Thread_local struct {
        struct file **by_fd;
        size_t size;
        size_t n_open;
} files;

static struct {
        unsigned n;
        struct list waiting;
} readers = { .waiting = LIST_INIT(readers.waiting) };

static void register_file(struct file *f)
{
        size_t size = (size_t)f->fd + 1;

        if (size > files.size) {
                files.by_fd = xrealloc_array(files.by_fd, size, sizeof(struct file *));
                memset(files.by_fd + files.size, 0, (size - files.size) * sizeof(struct file *));
                files.size = size;
        }
        files.by_fd[f->fd] = f;
        files.n_open++;
}

static void forget_file(struct file *f)
{
        files.by_fd[f->fd] = NULL;
        if (--files.n_open > 0)
                return;
        free(files.by_fd);
        files.by_fd = NULL;
        files.size = 0;
}

static struct file *file_free(struct file *f)
{
        if (f->response)
                MHD_destroy_response(f->response); /* closes fd */
        else
                fd_close(f->fd);
        free(f);
        return NULL;
}

/* --- reading ahead --- */

/* A worker: it only uses what does not change while is_reading. */
static void read_window(void *job)
{
        struct file *f = job;
        char *piece = malloc(PIECE);

        f->error = piece ? 0 : -ENOMEM;
        /* All at once for the disk's queue; it returns before it has been read. */
        (void)posix_fadvise(f->fd, (off_t)f->from, (off_t)(f->to - f->from), POSIX_FADV_WILLNEED);
        for (uint64_t at = f->from; piece && at < f->to;) {
                ssize_t n = pread(f->fd, piece, MIN((uint64_t)PIECE, f->to - at), (off_t)at);

                if (n < 0)
                        f->error = -errno;
                if (n <= 0) /* 0: it is found out when it is sent */
                        break;
                at += (uint64_t)n;
        }
        free(piece);
}

static void start_readers(void);

static void on_window_read(void *job)
{
        struct file *f = job;

        readers.n--;
        f->is_reading = false;
        f->ready = f->to;
        f->ready_ms = clock_now_ms();
        start_readers();
        if (!f->req) {
                file_free(f);
                return;
        }
        if (f->error < 0 && f->error != -ENOMEM) {
                log_warning("file unreadable", "id=%s error=%s", f->req->id, strerror(-f->error));
                f->is_lost = true;
        }
        if (f->is_awaited) {
                f->is_awaited = false;
                request_wake(f->req);
        }
}

static void start_readers(void)
{
        while (readers.n < MAX_READERS && !list_is_empty(&readers.waiting)) {
                struct file *f = list_entry(readers.waiting.next, struct file, queue);

                list_remove(&f->queue);
                f->is_queued = false;
                readers.n++;
                if (job_run(f->loop, f, read_window, on_window_read) < 0)
                        on_window_read(f); /* then sendfile has to read */
        }
}

static void read_ahead(struct file *f, uint64_t from)
{
        f->is_reading = true;
        f->error = 0;
        f->from = from;
        f->to = from + MIN(f->window, f->end - from);
        f->window = MIN(f->window * 2, (uint64_t)WINDOW_MAX);
        f->is_queued = true;
        list_append(&readers.waiting, &f->queue);
        start_readers();
}

/* --- what is in the page cache --- */

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* Linux 6.5; the same for all processors */
#endif

struct cache_range {
        uint64_t offset;
        uint64_t size;
};

struct cache_pages {
        uint64_t n_cached;
        uint64_t n_others[4]; /* dirty, under writeback, evicted, recently evicted */
};

/* A read that does not wait knows the truth about one page at least. */
static bool is_byte_cached(const struct file *f, uint64_t at)
{
        char byte;
        struct iovec v = { &byte, 1 };

        return preadv2(f->fd, &v, 1, (off_t)at, RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

static size_t page_size(void)
{
        return (size_t)sysconf(_SC_PAGESIZE);
}

/* Is everything there? The call counts pages that are just being read, too: hence the samples. False also where it
 * cannot be known this way. */
static bool is_all_cached(const struct file *f, uint64_t start, uint64_t size)
{
        struct cache_range range = { start, size };
        struct cache_pages pages;

        if (syscall(SYS_cachestat, f->fd, &range, &pages, 0) < 0 ||
            pages.n_cached < (size + page_size() - 1) / page_size())
                return false;
        for (uint64_t at = start; at < start + size; at += SAMPLE)
                if (!is_byte_cached(f, at))
                        return false;
        return true;
}

/* The bytes from @start on, up to @size, page by page. */
static uint64_t count_cached(const struct file *f, uint64_t start, uint64_t size)
{
        unsigned char pages[PROBE / 4096 + 1];
        size_t n_pages = (size_t)((size + page_size() - 1) / page_size()), n = 0;
        void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, f->fd, (off_t)start);

        if (map == MAP_FAILED)
                return 0; /* a file system without: what a worker has read will be there */
        if (mincore(map, size, pages) == 0)
                while (n < n_pages && (pages[n] & 1))
                        n++;
        (void)munmap(map, size);
        return MIN((uint64_t)n * page_size(), size);
}

/* The bytes from @at on, up to PROBE, that can be sent without a disk. */
static uint64_t cached_size(const struct file *f, uint64_t at)
{
        uint64_t start = at - at % page_size(), size = MIN(f->end - start, (uint64_t)PROBE);

        if (f->is_cold || !is_all_cached(f, start, size))
                size = count_cached(f, start, size);
        /* mincore says "everything" about files that the agent could not write. */
        if (size == 0 || !is_byte_cached(f, at))
                return 0;
        return start + size - at;
}

/* Of a file that is cold in places. What is there already costs no worker. */
static void look_ahead(struct file *f)
{
        uint64_t size = cached_size(f, f->ready);

        if (size == 0)
                read_ahead(f, f->ready);
        f->ready += size;
}

static bool is_ready(struct file *f, uint64_t at, uint64_t end)
{
        uint64_t now = clock_now_ms();

        if (end <= f->ready && now - f->ready_ms <= TRUST_MS)
                return true;
        if (f->is_reading && end > f->ready)
                return false;
        f->ready = MAX(at, f->is_reading ? f->ready : at + cached_size(f, at));
        f->ready_ms = now;
        return end <= f->ready;
}

/* --- sending --- */

static ssize_t system_sendfile(int out, int in, off64_t *offset, size_t size)
{
#ifdef SYS_sendfile64
        return syscall(SYS_sendfile64, out, in, offset, size);
#else
        return syscall(SYS_sendfile, out, in, offset, size);
#endif
}

/* A file system that cannot do it, such as some in user space. */
static ssize_t copy_piece(const struct file *f, int out, off64_t *offset, size_t size)
{
        static char piece[64 * KIB];
        ssize_t n = pread(f->fd, piece, MIN(size, sizeof(piece)), *offset);

        if (n > 0)
                n = send(out, piece, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
                *offset += n;
        return n;
}

static ssize_t send_some(const struct file *f, int out, off64_t *offset, size_t size)
{
        ssize_t n;

        do {
                n = system_sendfile(out, f->fd, offset, size);
                if (n < 0 && (errno == EINVAL || errno == ENOSYS))
                        n = copy_piece(f, out, offset, size);
        } while (n < 0 && errno == EINTR);
        return n;
}

static void wait_for_disk(struct file *f, uint64_t at)
{
        f->is_cold = true;
        f->is_awaited = true;
        request_suspend(f->req);
        if (!f->is_reading)
                read_ahead(f, at);
}

static ssize_t lose(struct file *f)
{
        if (!f->is_lost)
                log_warning("file cut", "id=%s sent=%llu size=%llu", f->req->id,
                            (unsigned long long)f->req->sent,
                            (unsigned long long)(f->end - f->offset));
        f->is_lost = true;
        errno = EBADF; /* the one error that makes MHD close the connection at once */
        return -1;
}

static ssize_t file_send(struct file *f, int out, off64_t *offset, size_t size)
{
        uint64_t at = (uint64_t)*offset;
        size_t done = 0;
        ssize_t n = 0;

        if (f->is_lost)
                return lose(f);
        if (!is_ready(f, at, at + size)) {
                wait_for_disk(f, at);
                errno = EAGAIN;
                return -1;
        }
        while (done < size) {
                n = send_some(f, out, offset, size - done);
                if (n <= 0)
                        break;
                done += (size_t)n;
        }
        f->req->sent += done;
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
                f->is_lost = f->is_lost || n < 0; /* nothing to tell: the client has left */
                return lose(f);
        }
        if (f->is_cold && !f->is_reading && f->ready < f->end && f->ready - at < f->window)
                look_ahead(f);
        return done > 0 ? (ssize_t)done : n;
}

/* Takes precedence over the C library's function of the same name; see the top of this file. */
__attribute__((visibility("default"))) ssize_t sendfile64(int out, int in, off64_t *offset,
                                                          size_t size)
{
        struct file *f = in >= 0 && (size_t)in < files.size ? files.by_fd[in] : NULL;

        if (f && offset)
                return file_send(f, out, offset, size);
        return system_sendfile(out, in, offset, size);
}

/* See file_private.h. */
struct MHD_Response *file_response(struct file *f)
{
        f->response = MHD_create_response_from_fd_at_offset64(f->end - f->offset, f->fd, f->offset);
        if (f->response)
                register_file(f);
        return f->response;
}

/* See file_private.h. */
bool file_is_awaited(const struct file *f)
{
        return f->is_awaited;
}

/* See file_private.h. */
struct file *file_close(struct file *f)
{
        if (!f)
                return NULL;
        if (f->response)
                forget_file(f);
        f->req = NULL;
        if (f->is_queued) {
                list_remove(&f->queue);
                f->is_reading = false;
        }
        return f->is_reading ? NULL : file_free(f);
}

/* See the header. */
int request_reply_file(struct request *req, unsigned status, const char *type, int fd,
                       uint64_t offset, uint64_t size)
{
        struct file *f;

        assert(!(req->match.route->flags & (ROUTE_HEARTBEAT | ROUTE_IDEMPOTENT)));
        if (!request_wants_reply(req)) {
                fd_close(fd);
                return 0;
        }
        if (size == 0) {
                fd_close(fd);
                return request_reply_text(req, status, type, NULL, 0);
        }
        f = xnew(struct file);
        f->req = req;
        f->loop = server_environment(req->server)->loop;
        f->fd = fd;
        f->offset = offset;
        f->end = offset + size;
        f->ready = offset;
        f->window = WINDOW_FIRST;
        req->file = f;
        req->reply.status = status;
        req->reply.type = type;
        request_accept_reply(req);
        return 0;
}
