/* SPDX-License-Identifier: Apache-2.0 */

/* The client of servers that hand out and take files: it downloads, or uploads by PUT, COUNT files over N keep-alive
 * connections, and prints throughput and percentiles as JSON. As load.c it is strict: an answer with another status
 * or of another size, a closed connection or the end of the time is an error and ends it.
 *
 * It must not be what limits a fast server. So what it sends comes from one buffer, and what it receives behind the
 * header is thrown away by the kernel (MSG_TRUNC), without a copy: whoever compares servers checks outside of the
 * measurement that the content is right. One thread and one epoll set. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/samples.h"

#define HEAD_SIZE  (16 * 1024)
#define PIECE_SIZE (1024 * 1024)

struct client {
        int fd;
        uint64_t sent_ns;
        char request[4096];
        size_t request_size;
        uint64_t to_send; /* of the request and its body */
        bool wants_room;  /* the socket is full */
        char head[HEAD_SIZE];
        size_t size; /* of what is in it, perhaps with the first bytes of a body */
        bool has_head;
        uint64_t body_left;
};

static struct {
        unsigned port;
        unsigned n_clients;
        size_t count;
        int statuses[2];
        unsigned max_seconds;
        bool is_put;
        uint64_t size; /* of each file */
        const char *token;
        const char *target; /* with {} where the file's number belongs */
} options = { .n_clients = 1, .count = 1, .statuses = { 200, 200 }, .max_seconds = 60 };

static char piece[PIECE_SIZE];

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
        exit(1);
}

static void client_connect(struct client *c, int set)
{
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons((uint16_t)options.port),
                .sin_addr = { htonl(INADDR_LOOPBACK) },
        };
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
        int on = 1;

        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                fail("connect to port %u: %s", options.port, strerror(errno));
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (epoll_ctl(set, EPOLL_CTL_ADD, c->fd, &event) < 0)
                fail("epoll_ctl: %s", strerror(errno));
}

/* --- sending --- */

static void client_prepare(struct client *c, size_t number)
{
        const char *mark = strstr(options.target, "{}");
        char digits[16] = "", length[64] = "", authorization[2048] = "";
        int n;

        if (mark)
                snprintf(digits, sizeof(digits), "%06zu", number);
        if (options.is_put)
                snprintf(length, sizeof(length), "Content-Length: %llu\r\n",
                         (unsigned long long)options.size);
        if (options.token)
                snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s\r\n",
                         options.token);
        n = snprintf(c->request, sizeof(c->request),
                     "%s %.*s%s%s HTTP/1.1\r\nHost: bench\r\n%s%s\r\n",
                     options.is_put ? "PUT" : "GET",
                     mark ? (int)(mark - options.target) : (int)strlen(options.target),
                     options.target, digits, mark ? mark + 2 : "", authorization, length);
        if (n < 0 || (size_t)n >= sizeof(c->request))
                fail("the request is too long");
        c->request_size = (size_t)n;
        c->to_send = c->request_size + (options.is_put ? options.size : 0);
        c->size = 0;
        c->has_head = false;
        c->body_left = 0;
}

static void client_watch(struct client *c, int set, bool wants_room)
{
        struct epoll_event event = { .events = EPOLLIN | (wants_room ? EPOLLOUT : 0),
                                     .data.ptr = c };

        if (wants_room == c->wants_room)
                return;
        c->wants_room = wants_room;
        if (epoll_ctl(set, EPOLL_CTL_MOD, c->fd, &event) < 0)
                fail("epoll_ctl: %s", strerror(errno));
}

/* A file's content repeats the buffer, from its beginning. A small one leaves together with its header. */
static void client_send(struct client *c, int set)
{
        uint64_t body = options.is_put ? options.size : 0;

        while (c->to_send > 0) {
                bool is_head = c->to_send > body;
                uint64_t at = is_head ? 0 : (body - c->to_send) % PIECE_SIZE;
                size_t head = is_head ? (size_t)(c->to_send - body) : 0;
                uint64_t rest = c->to_send - head;
                size_t size = PIECE_SIZE - (size_t)at < rest ? PIECE_SIZE - (size_t)at
                                                             : (size_t)rest;
                struct iovec parts[] = {
                        { c->request + c->request_size - head, head },
                        { piece + at, size },
                };
                struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
                ssize_t n = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

                if (n < 0 && errno == EAGAIN)
                        break;
                if (n < 0)
                        fail("send: %s", strerror(errno));
                c->to_send -= (uint64_t)n;
        }
        client_watch(c, set, c->to_send > 0);
}

static void client_begin(struct client *c, int set, size_t number)
{
        client_prepare(c, number);
        c->sent_ns = now_ns();
        client_send(c, set);
}

/* --- receiving --- */

/* Looks for the end of the header; checks the status and the size. */
static void parse_head(struct client *c)
{
        const char *end = memmem(c->head, c->size, "\r\n\r\n", 4);
        const char *length;
        size_t head_size;
        int status = 0;

        if (!end && c->size == HEAD_SIZE - 1)
                fail("a header of more than %d bytes", HEAD_SIZE);
        if (!end)
                return;
        head_size = (size_t)(end - c->head) + 4;
        c->head[c->size] = '\0';
        if (sscanf(c->head, "HTTP/1.1 %d", &status) != 1 ||
            (status != options.statuses[0] && status != options.statuses[1]))
                fail("expected status %d, got:\n%.600s", options.statuses[0], c->head);
        if (c->to_send > 0)
                fail("an answer before the file was sent:\n%.400s", c->head);
        length = strcasestr(c->head, "\r\nContent-Length:");
        if (length && length < end)
                c->body_left = strtoull(length + strlen("\r\nContent-Length:"), NULL, 10);
        else if (status != 204)
                fail("an answer without a length:\n%.400s", c->head);
        if (!options.is_put && c->body_left != options.size)
                fail("a file of another size:\n%.400s", c->head);
        if (c->size - head_size > c->body_left)
                fail("more than one answer");
        c->body_left -= c->size - head_size;
        c->has_head = true;
}

/* True when this was the last piece of an answer. */
static bool client_receive(struct client *c)
{
        ssize_t n;

        if (c->has_head)
                n = recv(c->fd, piece,
                         c->body_left < PIECE_SIZE ? (size_t)c->body_left : PIECE_SIZE,
                         MSG_DONTWAIT | MSG_TRUNC);
        else
                n = recv(c->fd, c->head + c->size, HEAD_SIZE - 1 - c->size, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        if (n <= 0)
                fail("receive: %s", n < 0 ? strerror(errno) : "the server closed the connection");
        if (c->has_head) {
                c->body_left -= (uint64_t)n;
        } else {
                c->size += (size_t)n;
                parse_head(c);
        }
        return c->has_head && c->body_left == 0;
}

/* Sends until @count requests are on their way, receives until as many answers are there. */
static void run(struct client *clients, int set, struct samples *samples)
{
        uint64_t deadline = now_ns() + options.max_seconds * 1000000000ULL;
        struct epoll_event events[64];
        size_t n_sent = 0;

        for (; n_sent < options.n_clients && n_sent < options.count; n_sent++)
                client_begin(&clients[n_sent], set, n_sent);

        while (samples->n < options.count) {
                int n = epoll_wait(set, events, 64, 1000);

                if (now_ns() > deadline)
                        fail("only %zu of %zu answers in %u s", samples->n, options.count,
                             options.max_seconds);
                for (int i = 0; i < n; i++) {
                        struct client *c = events[i].data.ptr;

                        if (events[i].events & EPOLLOUT)
                                client_send(c, set);
                        if (!(events[i].events & ~(unsigned)EPOLLOUT) || !client_receive(c))
                                continue;
                        samples_add(samples, now_ns() - c->sent_ns);
                        if (n_sent < options.count)
                                client_begin(c, set, n_sent++);
                }
        }
}

static void parse_options(int argc, char **argv)
{
        int o;

        while ((o = getopt(argc, argv, "p:c:n:us:z:a:t:")) != -1) {
                unsigned long long number = optarg ? strtoull(optarg, NULL, 10) : 0;

                switch (o) {
                case 'p':
                        options.port = (unsigned)number;
                        break;
                case 'c':
                        options.n_clients = (unsigned)number;
                        break;
                case 'n':
                        options.count = number;
                        break;
                case 'u':
                        options.is_put = true;
                        break;
                case 's':
                        options.statuses[0] = options.statuses[1];
                        options.statuses[1] = (int)number;
                        break;
                case 'z':
                        options.size = number;
                        break;
                case 'a':
                        options.token = optarg;
                        break;
                case 't':
                        options.max_seconds = (unsigned)number;
                        break;
                default:
                        exit(2);
                }
        }
        if (optind != argc - 1 || !options.port || !options.n_clients || !options.count ||
            !options.size)
                fail("usage: file_load -p PORT -z FILE_SIZE [-u: upload] [-c CLIENTS] [-n COUNT] "
                     "[-s STATUS [-s OTHER_STATUS]] [-a TOKEN] [-t MAX_SECONDS] TARGET");
        options.target = argv[optind];
}

int main(int argc, char **argv)
{
        struct samples samples;
        struct client *clients;
        uint64_t start;
        double seconds;
        int set;

        parse_options(argc, argv);
        for (size_t i = 0; i < PIECE_SIZE; i++)
                piece[i] = (char)('a' + i % 23 + i / 4096 % 3);
        samples_init(&samples, options.count);
        clients = calloc(options.n_clients, sizeof(*clients));
        set = epoll_create1(EPOLL_CLOEXEC);
        if (!clients || set < 0)
                fail("start: %s", strerror(errno));
        for (unsigned i = 0; i < options.n_clients; i++)
                client_connect(&clients[i], set);

        start = now_ns();
        run(clients, set, &samples);
        seconds = (double)(now_ns() - start) / 1e9;

        printf("{\"count\": %zu, \"seconds\": %.6f, \"per_second\": %.1f, \"bytes_per_second\": "
               "%.0f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
               samples.n, seconds, (double)samples.n / seconds,
               (double)samples.n * (double)options.size / seconds,
               samples_percentile_us(&samples, 50), samples_percentile_us(&samples, 99));

        for (unsigned i = 0; i < options.n_clients; i++)
                close(clients[i].fd);
        close(set);
        free(clients);
        samples_done(&samples);
        return 0;
}
