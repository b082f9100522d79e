/* SPDX-License-Identifier: Apache-2.0 */

/* libcurl's multi interface on the loop: it says which sockets to watch and when to wake it, and is told what
 * happened. It closes a socket right after it has asked to stop watching it, and the next one may get the same
 * number; so each watch is an object of its own, which libuv closes in its own time. */

#include "agent/webhook/transfers_private.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"
#include "agent/loop/timer.h"

struct watch {
        uv_poll_t poll;
        struct transfers *owner;
        curl_socket_t fd;
};

/* libcurl's process-wide part. It costs milliseconds and megabytes, so there is none before the first delivery, and
 * then it is a worker that makes it. It stays until the program's end. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode once_result;

static void load_run(void *arg)
{
        (void)arg;
        once_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* In a thread of its own, as what OpenSSL then keeps for the thread is freed by the thread's end: a worker's end comes
 * after OpenSSL's own. */
static void load(void)
{
        uv_thread_t thread;

        if (uv_thread_create(&thread, load_run, NULL) < 0)
                load_run(NULL);
        else
                uv_thread_join(&thread);
}

/* See the header. */
void transfers_load(void)
{
        (void)pthread_once(&once, load);
}

/* Results are collected at the end of each turn, outside of libcurl: their owners may start new requests. */
static void collect(struct transfers *t)
{
        CURLMsg *message;
        int n_left;

        while ((message = curl_multi_info_read(t->multi, &n_left))) {
                CURLcode code = message->data.result;
                struct transfer *transfer = NULL;

                if (message->msg != CURLMSG_DONE)
                        continue;
                curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
                transfer_finish(transfer, code);
        }
}

static void act(struct transfers *t, curl_socket_t fd, int events)
{
        int n_running;

        (void)curl_multi_socket_action(t->multi, fd, events, &n_running);
        collect(t);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
        struct watch *w = container_of(poll, struct watch, poll);
        int flags = 0;

        flags |= status < 0 ? CURL_CSELECT_ERR : 0;
        flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
        flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
        act(w->owner, w->fd, flags); /* may have closed the watch */
}

static void on_watch_closed(uv_handle_t *handle)
{
        free(container_of((uv_poll_t *)handle, struct watch, poll));
}

static struct watch *watch_new(struct transfers *t, curl_socket_t fd)
{
        struct watch *w = xnew(struct watch);

        w->owner = t;
        w->fd = fd;
        if (uv_poll_init(&t->loop->uv, &w->poll, fd) < 0) {
                free(w);
                return NULL;
        }
        return w;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
        struct transfers *t = arg;
        struct watch *w = socket_arg;
        int events = 0;

        (void)easy;
        if (what == CURL_POLL_REMOVE) {
                if (w)
                        uv_close((uv_handle_t *)&w->poll, on_watch_closed);
                return 0;
        }
        if (!w) {
                w = watch_new(t, fd);
                if (!w)
                        return -1;
                (void)curl_multi_assign(t->multi, fd, w);
        }
        events |= what & CURL_POLL_IN ? UV_READABLE : 0;
        events |= what & CURL_POLL_OUT ? UV_WRITABLE : 0;
        return uv_poll_start(&w->poll, events, on_ready) < 0 ? -1 : 0;
}

static int on_timeout_wanted(CURLM *multi, long timeout_ms, void *arg)
{
        struct transfers *t = arg;

        (void)multi;
        if (timeout_ms < 0)
                timer_stop(t->timer);
        else
                timer_start(t->timer, (uint64_t)timeout_ms); /* 0 as well: not from in here */
        return 0;
}

static void on_timeout(void *arg)
{
        act(arg, CURL_SOCKET_TIMEOUT, 0);
}

/* The system's certificates are one large file, and a directory in which they can be found by their hash. Reading
 * the file takes tens of milliseconds for each connection, and the loop would stand still; so it is the directory,
 * where there is one. */
static const char *find_ca_path(void)
{
        const char *path = curl_version_info(CURLVERSION_NOW)->capath;
        DIR *dir = path ? opendir(path) : NULL;
        const struct dirent *file;
        bool has_hashes = false;

        while (dir && !has_hashes && (file = readdir(dir)))
                has_hashes = strlen(file->d_name) == 10 &&
                             strspn(file->d_name, "0123456789abcdef") == 8 &&
                             file->d_name[8] == '.';
        if (dir)
                (void)closedir(dir);
        return has_hashes ? path : NULL;
}

/* See transfers_private.h. */
int transfers_open(struct transfers *t)
{
        if (t->multi)
                return 0;
        transfers_load();
        t->multi = once_result == CURLE_OK ? curl_multi_init() : NULL;
        if (!t->multi)
                return -ENOMEM;
        t->ca_path = find_ca_path();
        curl_multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
        curl_multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
        curl_multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
        curl_multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
        return 0;
}

/* See the header. */
int transfers_new(struct loop *l, const struct target_rules *rules, struct transfers **ret,
                  struct error *err)
{
        const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
        struct transfers *t;

        /* Otherwise a slow name server would stop the loop. */
        if (!(info->features & CURL_VERSION_ASYNCHDNS))
                return error_set(err, -ENOSYS, "libcurl %s looks names up synchronously",
                                 info->version);
        t = xnew(struct transfers);
        t->loop = l;
        t->rules = rules;
        list_init(&t->running);
        t->timer = timer_new(l, on_timeout, t);
        *ret = t;
        return 0;
}

/* See the header. OpenSSL notices a fork, but not that its machine was copied. */
void transfers_reseed(struct transfers *t)
{
        if (t->multi)              /* otherwise nothing was drawn yet */
                (void)RAND_poll(); /* without it OpenSSL asks the kernel in its own time */
}

/* See the header. */
struct transfers *transfers_free(struct transfers *t)
{
        if (!t)
                return NULL;
        list_for_each_safe(pos, &t->running) {
                struct transfer *transfer = list_entry(pos, struct transfer, link);

                (void)curl_multi_remove_handle(t->multi, transfer->easy);
                list_remove(&transfer->link);
                transfer_free(transfer);
        }
        if (t->multi)
                (void)curl_multi_cleanup(t->multi); /* stops the last watches */
        timer_free(t->timer);
        free(t);
        return NULL;
}
