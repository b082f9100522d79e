/* SPDX-License-Identifier: Apache-2.0 */

/* libwebsockets cannot be told that a handshake is over. So it gets one end of a socketpair and a request of our own
 * to answer; its answer is read from the other end and thrown away; and then the real connection takes the place of
 * the socketpair's end, under the same descriptor. The loop watches descriptors only from its next turn on, so the
 * exchange goes unnoticed. The request names no token and no extension. */

#include "agent/ws/handshake.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libwebsockets.h>

#include "agent/base/buf.h"
#include "agent/base/fd.h"
#include "agent/base/macros.h"

#define REQUEST                                           \
        "GET / HTTP/1.1\r\n"                              \
        "Host: agent\r\n"                                 \
        "Connection: Upgrade\r\n"                         \
        "Upgrade: websocket\r\n"                          \
        "Sec-WebSocket-Version: 13\r\n"                   \
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
        "\r\n"
#define MAX_ANSWER 2048

/* The library's 101, and nothing else. */
static int swallow_answer(int fd)
{
        char answer[MAX_ANSWER];
        ssize_t n = recv(fd, answer, sizeof(answer), 0);
        const char *end = n > 0 ? memmem(answer, (size_t)n, "\r\n\r\n", 4) : NULL;

        return end == answer + n - 4 ? 0 : -EPROTO;
}

/* A dead peer must not keep us busy for ever, and keys must not wait for company. */
static void set_options(int fd)
{
        const int on = 1, idle_s = 60;

        /* A unix socket knows neither. */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
}

/* See the header. */
struct lws *handshake_adopt(struct lws_vhost *vhost, int fd, const char *extra, size_t size)
{
        CLEANUP(buf_done) struct buf input;
        CLEANUP(fd_close) int far_end = -1;
        int pair[2];
        struct lws *wsi;

        /* Behind the request, the library keeps what the peer has sent, and reads it first. */
        buf_init(&input, 0);
        if (buf_append_str(&input, REQUEST) < 0 ||
            (size > 0 && buf_append(&input, extra, size) < 0))
                return NULL;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
                return NULL;
        far_end = pair[1];

        /* It closes the descriptor when it fails. */
        wsi = lws_adopt_socket_vhost_readbuf(vhost, pair[0], input.data, input.size);
        if (!wsi)
                return NULL;

        set_options(fd);
        if (swallow_answer(far_end) < 0 || dup3(fd, pair[0], O_CLOEXEC) < 0)
                lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
        else if (size > 0)
                lws_callback_on_writable(wsi); /* nothing else wakes it for what it has already */
        return wsi;
}
