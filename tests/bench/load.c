/* SPDX-License-Identifier: Apache-2.0 */

/* A load generator for answers that take work: it sends one given request over N keep-alive
 * connections, a new one on each as soon as the answer is complete (or some time later, as somebody would who
 * looks at it first: -g, for one connection), until COUNT answers have come; then it prints their percentiles and
 * the throughput as JSON. It is written in C because at these speeds a script would measure itself, and it is used
 * for both sides of a comparison. It is strict: an answer with another status, one that lacks the expected text, a
 * closed connection or the end of the time is an error and ends it, because a fast wrong answer is not a result.
 * SIGTERM ends it, too, with the figures of what has come until then: for what is measured while something else
 * goes on.
 *
 * One thread and one epoll set. Bodies are kept whole, with a Content-Length or chunked. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/samples.h"

#define READ_SIZE (256 * 1024)

struct client {
        int fd;
        uint64_t sent_ns;
        uint64_t first_ns; /* when the first byte of the body was there; 0: not yet */
        char *data; /* the answer as received; one byte more than size is always there for a NUL */
        size_t size;
        size_t capacity;
        size_t head_size;    /* 0: the header is not complete yet */
        size_t body_size;    /* of a body with a length */
        bool chunked;        /* or: the chunks are moved together from head_size on */
        size_t chunk_next;   /* where the next chunk's size line starts */
        size_t decoded_size; /* bytes of body decoded so far */
};

static struct {
        unsigned port;
        unsigned n_clients;
        size_t count;
        int status;
        const char *expect;
        unsigned max_seconds;
        unsigned gap_ms;
        char *request;
        size_t request_size;
} options = { .n_clients = 1, .count = 1, .status = 200, .max_seconds = 60 };

static volatile sig_atomic_t is_over;

static void on_term(int number)
{
        (void)number;
        is_over = 1;
}

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

/* The socket blocks, and the request is small: it leaves in one piece. */
static void client_send(struct client *c)
{
        ssize_t n;

        c->size = c->head_size = c->body_size = c->chunk_next = c->decoded_size = 0;
        c->first_ns = 0;
        c->chunked = false;
        c->sent_ns = now_ns();
        n = send(c->fd, options.request, options.request_size, MSG_NOSIGNAL);
        if (n != (ssize_t)options.request_size)
                fail("send: %s", n < 0 ? strerror(errno) : "short");
}

static void client_reserve(struct client *c, size_t size)
{
        if (c->capacity - c->size > size)
                return;
        c->capacity = 2 * c->capacity + size + 1;
        c->data = realloc(c->data, c->capacity);
        if (!c->data)
                fail("no memory for an answer of %zu bytes", c->capacity);
}

/* Looks for the end of the header; learns the status and how the body ends. */
static void parse_head(struct client *c)
{
        const char *end = memmem(c->data, c->size, "\r\n\r\n", 4);
        const char *length;
        int status = 0;

        if (!end)
                return;
        c->head_size = c->chunk_next = (size_t)(end - c->data) + 4;

        c->data[c->head_size - 1] = '\0';
        if (sscanf(c->data, "HTTP/1.1 %d", &status) != 1 || status != options.status)
                fail("expected status %d, got:\n%.400s", options.status, c->data);
        length = strcasestr(c->data, "\r\nContent-Length:");
        c->chunked = strcasestr(c->data, "\r\nTransfer-Encoding: chunked");
        if (length)
                c->body_size = strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
        else if (!c->chunked)
                fail("an answer without a length:\n%.400s", c->data);
}

/* Moves complete chunks to the end of the decoded body. True when the last one was there. */
static bool decode_chunks(struct client *c)
{
        for (;;) {
                const char *line = c->data + c->chunk_next;
                const char *eol = memmem(line, c->size - c->chunk_next, "\r\n", 2);
                size_t start, size;
                char *digits_end;

                if (!eol)
                        return false;
                size = strtoul(line, &digits_end, 16);
                if (digits_end == line)
                        fail("a chunk without a size");
                start = (size_t)(eol - c->data) + 2;
                if (size > c->size || c->size - start < size + 2)
                        return false; /* the last chunk ends in an empty line: also two bytes */
                memmove(c->data + c->head_size + c->decoded_size, c->data + start, size);
                c->decoded_size += size;
                c->chunk_next = start + size + 2;
                if (size == 0)
                        return true;
        }
}

static bool answer_is_complete(struct client *c)
{
        if (c->head_size == 0)
                parse_head(c);
        if (c->head_size == 0)
                return false;
        if (c->first_ns == 0 && c->size > c->head_size)
                c->first_ns = now_ns();
        if (c->chunked)
                return decode_chunks(c);
        c->decoded_size = c->body_size;
        return c->size >= c->head_size + c->body_size;
}

static void check_answer(const struct client *c)
{
        const char *body = c->data + c->head_size;

        if (options.expect &&
            !memmem(body, c->decoded_size, options.expect, strlen(options.expect)))
                fail("no %s in the answer:\n%.*s", options.expect,
                     (int)(c->decoded_size < 400 ? c->decoded_size : 400), body);
}

/* True when this was the last piece of an answer. */
static bool client_receive(struct client *c)
{
        ssize_t n;

        client_reserve(c, READ_SIZE);
        n = recv(c->fd, c->data + c->size, c->capacity - c->size - 1, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        if (n <= 0)
                fail("receive: %s", n < 0 ? strerror(errno) : "the server closed the connection");
        c->size += (size_t)n;
        c->data[c->size] = '\0';
        return answer_is_complete(c);
}

/* As a client that looks at the answer. */
static void wait_a_while(void)
{
        const struct timespec gap = {
                .tv_sec = options.gap_ms / 1000,
                .tv_nsec = options.gap_ms % 1000 * 1000000L,
        };

        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &gap, NULL);
}

/* Sends until @count requests are on their way, receives until as many answers are there. */
static void run(struct client *clients, int set, struct samples *samples, struct samples *firsts,
                size_t *ret_body_size)
{
        uint64_t deadline = now_ns() + options.max_seconds * 1000000000ULL;
        struct epoll_event events[64];
        size_t n_sent = 0;

        for (; n_sent < options.n_clients && n_sent < options.count; n_sent++)
                client_send(&clients[n_sent]);

        while (samples->n < options.count && !(is_over && samples->n > 0)) {
                int n = epoll_wait(set, events, 64, 1000);

                if (now_ns() > deadline)
                        fail("only %zu of %zu answers in %u s", samples->n, options.count,
                             options.max_seconds);
                for (int i = 0; i < n; i++) {
                        struct client *c = events[i].data.ptr;

                        if (!client_receive(c))
                                continue;
                        samples_add(samples, now_ns() - c->sent_ns);
                        samples_add(firsts, (c->first_ns ? c->first_ns : now_ns()) - c->sent_ns);
                        check_answer(c);
                        *ret_body_size = c->decoded_size;
                        if (n_sent < options.count) {
                                wait_a_while();
                                client_send(c);
                                n_sent++;
                        }
                }
        }
}

static void read_request(const char *path)
{
        FILE *f = fopen(path, "re");
        long size;

        if (!f || fseek(f, 0, SEEK_END) < 0 || (size = ftell(f)) <= 0)
                fail("%s: no request in it", path);
        rewind(f);
        options.request_size = (size_t)size;
        options.request = malloc(options.request_size);
        if (!options.request || fread(options.request, 1, options.request_size, f) != (size_t)size)
                fail("%s: cannot be read", path);
        fclose(f);
}

static void parse_options(int argc, char **argv)
{
        int o;

        while ((o = getopt(argc, argv, "p:c:n:s:e:t:g:")) != -1) {
                unsigned long number = optarg ? strtoul(optarg, NULL, 10) : 0;

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
                case 's':
                        options.status = (int)number;
                        break;
                case 'e':
                        options.expect = optarg;
                        break;
                case 't':
                        options.max_seconds = (unsigned)number;
                        break;
                case 'g':
                        options.gap_ms = (unsigned)number;
                        break;
                default:
                        exit(2);
                }
        }
        if (optind != argc - 1 || !options.port || !options.n_clients || !options.count)
                fail("usage: load -p PORT [-c CLIENTS] [-n COUNT] [-s STATUS] [-e EXPECTED_TEXT] "
                     "[-t MAX_SECONDS] [-g GAP_MS] REQUEST_FILE");
        read_request(argv[optind]);
}

int main(int argc, char **argv)
{
        struct samples samples, firsts;
        struct client *clients;
        size_t body_size = 0;
        uint64_t start;
        double seconds;
        int set;

        parse_options(argc, argv);
        samples_init(&samples, options.count);
        samples_init(&firsts, options.count);
        (void)signal(SIGTERM, on_term);
        clients = calloc(options.n_clients, sizeof(*clients));
        set = epoll_create1(EPOLL_CLOEXEC);
        if (!clients || set < 0)
                fail("start: %s", strerror(errno));
        for (unsigned i = 0; i < options.n_clients; i++)
                client_connect(&clients[i], set);

        start = now_ns();
        run(clients, set, &samples, &firsts, &body_size);
        seconds = (double)(now_ns() - start) / 1e9;

        printf("{\"count\": %zu, \"seconds\": %.6f, \"per_second\": %.1f, \"p50_us\": %.1f, "
               "\"p99_us\": %.1f, \"first_p50_us\": %.1f, \"body_bytes\": %zu}\n",
               samples.n, seconds, (double)samples.n / seconds, samples_percentile_us(&samples, 50),
               samples_percentile_us(&samples, 99), samples_percentile_us(&firsts, 50), body_size);

        for (unsigned i = 0; i < options.n_clients; i++) {
                close(clients[i].fd);
                free(clients[i].data);
        }
        close(set);
        free(clients);
        free(options.request);
        samples_done(&samples);
        samples_done(&firsts);
        return 0;
}
