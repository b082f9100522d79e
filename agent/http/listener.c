/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/http/listener.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <uv.h>

#define LOG_MODULE "http"
#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/log.h"
#include "agent/http/server.h"
#include "agent/http/server_private.h"

/* Others have events, too. */
#define MAX_PER_TURN 16

struct listener {
        uv_poll_t poll;
        int fd;
        uint64_t n_clients;
        uint64_t max;
        bool is_paused;
        bool has_failed; /* at the latest try, and the log knows */
        struct server *server;
        struct MHD_Daemon *mhd;
};

/* These are about one connection, which is gone; the next may be fine (accept(2)). */
static bool is_connections_own(int error)
{
        switch (error) {
        case EINTR:
        case ECONNABORTED:
        case EPROTO:
        case EPERM:
        case ENETDOWN:
        case ENETUNREACH:
        case ENOPROTOOPT:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENONET:
        case EOPNOTSUPP:
                return true;
        default:
                return false;
        }
}

static void pause_listening(struct listener *l)
{
        l->is_paused = true;
        uv_poll_stop(&l->poll);
}

/* The socket stays readable as long as we cannot accept: without a pause the loop would spin. */
static void give_up(struct listener *l, int error)
{
        if (!l->has_failed)
                log_warning("cannot accept connections", "error=%s", strerror(error));
        l->has_failed = true;
        pause_listening(l);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
        struct listener *l = poll->data;

        (void)status; /* accept knows better */
        (void)events;
        for (int i = 0; i < MAX_PER_TURN && !l->is_paused; i++) {
                struct sockaddr_storage address = { 0 };
                socklen_t size = sizeof(address);
                int fd = accept4(l->fd, (struct sockaddr *)&address, &size,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);

                if (fd >= 0) {
                        l->has_failed = false;
                        /* Takes it in any case; comes to listener_client_came unless it fails. */
                        (void)MHD_add_connection(l->mhd, fd, (const struct sockaddr *)&address,
                                                 size);
                        server_wake(l->server);
                } else if (!is_connections_own(errno)) {
                        /* Without a descriptor it does not say that nobody waits. */
                        if (errno != EAGAIN && i == 0)
                                give_up(l, errno);
                        return;
                }
        }
}

/* See the header. */
void listener_try_again(struct listener *l)
{
        if (!l || !l->is_paused || l->n_clients >= l->max)
                return;
        l->is_paused = false;
        uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

/* See the header. */
void listener_client_came(struct listener *l)
{
        if (l && ++l->n_clients >= l->max)
                pause_listening(l);
}

/* See the header. */
void listener_client_left(struct listener *l)
{
        if (!l)
                return;
        l->n_clients--;
        listener_try_again(l);
}

/* See the header. */
int listener_new(struct server *s, struct MHD_Daemon *mhd, int fd, struct listener **ret,
                 struct error *err)
{
        struct listener *l = xnew(struct listener);
        int r = uv_poll_init(&server_environment(s)->loop->uv, &l->poll, fd);

        if (r < 0) {
                free(l);
                (void)fd_close(fd);
                return error_set(err, r, "watch the listening socket");
        }
        l->fd = fd;
        l->max = server_options(s)->max_connections;
        l->server = s;
        l->mhd = mhd;
        l->poll.data = l;
        l->is_paused = true;
        listener_try_again(l);
        *ret = l;
        return 0;
}

static void on_closed(uv_handle_t *h)
{
        free(h->data);
}

/* See the header. */
struct listener *listener_free(struct listener *l)
{
        if (!l)
                return NULL;
        uv_close((uv_handle_t *)&l->poll, on_closed); /* before its descriptor is */
        l->fd = fd_close(l->fd);
        return NULL;
}
