/* SPDX-License-Identifier: Apache-2.0 */

/* What this machine can do at most: one thread, one epoll set, and the same answer for whatever
 * arrives. It does not parse, route, check or log, so the agent's requests per second divided by
 * this server's say how much of the possible is left after doing the real work. A request counts
 * as complete when its blank line is there; the load generator sends each of them in one piece. */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\n"
                             "Date: Sun, 01 Jan 2023 00:00:00 GMT\r\n"
                             "Content-Type: application/json\r\n"
                             "Content-Length: 20\r\n"
                             "\r\n"
                             "{\"status\":\"healthy\"}";

static void fail(const char *what)
{
        perror(what);
        exit(1);
}

static int listen_on(const char *port)
{
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                .sin_addr = { htonl(INADDR_LOOPBACK) },
        };
        int on = 1;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
            bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 512) < 0)
                fail("listen");
        return fd;
}

static void watch(int set, int fd)
{
        struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

        if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0)
                fail("epoll_ctl");
}

static void welcome(int set, int listener)
{
        int on = 1;
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
                return; /* the client changed its mind */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        watch(set, fd);
}

static void serve(int fd)
{
        char request[8192];
        ssize_t n = recv(fd, request, sizeof(request), 0);

        if (n <= 0) {
                close(fd);
                return;
        }
        /* A failed send shows as an end of file at the next recv. */
        if (memmem(request, (size_t)n, "\r\n\r\n", 4))
                (void)send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
}

int main(int argc, char **argv)
{
        struct epoll_event events[64];
        int listener, set;

        if (argc != 2) {
                fprintf(stderr, "usage: reference_server PORT\n");
                return 2;
        }
        listener = listen_on(argv[1]);
        set = epoll_create1(EPOLL_CLOEXEC);
        if (set < 0)
                fail("epoll_create1");
        watch(set, listener);

        for (;;) {
                int n = epoll_wait(set, events, 64, -1);

                for (int i = 0; i < n; i++) {
                        if (events[i].data.fd == listener)
                                welcome(set, listener);
                        else
                                serve(events[i].data.fd);
                }
        }
}
