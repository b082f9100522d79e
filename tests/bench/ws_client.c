/* SPDX-License-Identifier: Apache-2.0 */

/* The client's side of a terminal, with as little work as possible: what it costs is added to every
 * server's figures, and would hide their difference. So messages are decoded where they were received,
 * and of JSON it knows only how to find one string. */

#include "tests/bench/ws_client.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/samples.h"

#define READ_SIZE    (256 * 1024)
#define MAX_FRAME    (16 * 1024 * 1024)
#define MAX_TYPED    4096 /* bytes of one ws_type, decoded */
#define CLOSE_NORMAL 1000

enum opcode { OP_MORE, OP_TEXT, OP_BINARY, OP_CLOSE = 8, OP_PING, OP_PONG };

/* Prints the message and ends the program. */
void ws_fail(const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
        exit(1);
}

static void send_all(struct ws_client *c, const void *data, size_t size)
{
        const char *p = data;

        while (size > 0) {
                ssize_t n = send(c->fd, p, size, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        ws_fail("send: %s", strerror(errno));
                p += n;
                size -= (size_t)n;
        }
}

/* One masked frame, in one piece. The mask need not be a surprise to anyone here, but it is not 0: the
 * server shall do its work. */
static void send_frame(struct ws_client *c, enum opcode opcode, const char *data, size_t size)
{
        static const unsigned char mask[4] = { 0x5a, 0x17, 0xc3, 0x88 };
        unsigned char frame[8 + 8 * MAX_TYPED];
        size_t n = 0;

        if (size + 8 > sizeof(frame))
                ws_fail("a frame of %zu bytes", size);
        frame[n++] = (unsigned char)(0x80 | opcode);
        if (size < 126) {
                frame[n++] = (unsigned char)(0x80 | size);
        } else {
                frame[n++] = 0x80 | 126;
                frame[n++] = (unsigned char)(size >> 8);
                frame[n++] = (unsigned char)size;
        }
        memcpy(frame + n, mask, sizeof(mask));
        n += sizeof(mask);
        for (size_t i = 0; i < size; i++)
                frame[n++] = (unsigned char)data[i] ^ mask[i % 4];
        send_all(c, frame, n);
}

/* Types @size bytes. */
void ws_type(struct ws_client *c, const char *data, size_t size)
{
        static const char head[] = "{\"type\":\"input\",\"data\":\"";
        char message[sizeof(head) + 6 * MAX_TYPED + 2];
        size_t n = sizeof(head) - 1;

        if (size > MAX_TYPED)
                ws_fail("%zu bytes typed at once", size);
        if (c->protocol == WS_PLAIN) {
                send_all(c, data, size);
                return;
        }
        if (c->protocol == WS_LINES) {
                send_frame(c, OP_TEXT, data, size);
                return;
        }

        memcpy(message, head, n);
        for (size_t i = 0; i < size; i++) {
                unsigned char byte = (unsigned char)data[i];

                if (byte < 0x20) {
                        n += (size_t)snprintf(message + n, 7, "\\u%04x", byte);
                        continue;
                }
                if (byte == '"' || byte == '\\')
                        message[n++] = '\\';
                message[n++] = data[i];
        }
        message[n++] = '"';
        message[n++] = '}';
        send_frame(c, OP_TEXT, message, n);
}

static unsigned hex_digits(const char *p)
{
        char digits[5];

        memcpy(digits, p, 4);
        digits[4] = '\0';
        return (unsigned)strtoul(digits, NULL, 16);
}

/* UTF-8 of a \u escape. What the benchmark prints is ASCII, so one half of a pair may come out as it is. */
static char *put_utf8(char *to, unsigned code)
{
        if (code < 0x80) {
                *to++ = (char)code;
        } else if (code < 0x800) {
                *to++ = (char)(0xc0 | code >> 6);
                *to++ = (char)(0x80 | (code & 0x3f));
        } else {
                *to++ = (char)(0xe0 | code >> 12);
                *to++ = (char)(0x80 | (code >> 6 & 0x3f));
                *to++ = (char)(0x80 | (code & 0x3f));
        }
        return to;
}

/* Decodes, in place, the JSON string whose first character is at @text; returns its size. */
static size_t unescape(char *text, const char *end)
{
        static const char letters[] = "bfnrt";
        static const char bytes[] = "\b\f\n\r\t";
        char *from = text;
        char *to = text;

        for (;;) {
                char *stop = from;
                const char *letter;

                while (stop < end && *stop != '"' && *stop != '\\')
                        stop++;
                if (end - stop < 2 || (*stop == '\\' && stop[1] == 'u' && end - stop < 6))
                        ws_fail("a string without an end");
                if (to != from)
                        memmove(to, from, (size_t)(stop - from));
                to += stop - from;
                if (*stop == '"')
                        return (size_t)(to - text);
                from = stop + 2;
                letter = stop[1] ? strchr(letters, stop[1]) : NULL;
                if (stop[1] == 'u') {
                        to = put_utf8(to, hex_digits(stop + 2));
                        from += 4;
                } else {
                        *to++ = letter ? bytes[letter - letters] : stop[1];
                }
        }
}

/* Where the string @key of a flat object begins, or NULL. Quotes inside of strings are escaped, so the key
 * cannot be found in one; a value could look like it, but no value here does. */
static char *find_string(char *text, size_t size, const char *key)
{
        char *p = memmem(text, size, key, strlen(key));
        const char *end = text + size;

        if (!p)
                return NULL;
        p += strlen(key);
        while (p < end && (*p == ' ' || *p == ':'))
                p++;
        return p < end && *p == '"' ? p + 1 : NULL;
}

static void take_json(struct ws_client *c, char *text, size_t size)
{
        char *type = find_string(text, size, "\"type\"");
        char *data;

        if (!type)
                ws_fail("a message without a type: %.*s", (int)(size < 200 ? size : 200), text);
        if (strncmp(type, "error\"", 6) == 0)
                ws_fail("the server says: %.*s", (int)(size < 400 ? size : 400), text);
        if (strncmp(type, "exit\"", 5) == 0 && !c->closing)
                ws_fail("the program has ended: %.*s", (int)(size < 400 ? size : 400), text);
        if (strncmp(type, "output\"", 7) != 0)
                return;
        data = find_string(text, size, "\"data\"");
        if (!data)
                ws_fail("output without data");
        c->on_output(c, data, unescape(data, text + size));
}

static void take_message(struct ws_client *c, unsigned opcode, char *data, size_t size)
{
        switch (opcode) {
        case OP_TEXT:
                if (c->protocol == WS_LINES)
                        c->on_output(c, data, size);
                else
                        take_json(c, data, size);
                return;
        case OP_BINARY:
                if (c->protocol != WS_PEER)
                        ws_fail("a binary frame");
                c->on_output(c, data, size);
                return;
        case OP_PING:
                send_frame(c, OP_PONG, data, size);
                return;
        case OP_PONG:
                return;
        case OP_CLOSE:
                c->closed = true;
                return;
        default:
                ws_fail("opcode %u", opcode);
        }
}

/* The header of the frame at @p; 0: it is not complete. */
static size_t frame_head(const unsigned char *p, size_t available, size_t *ret_size)
{
        uint64_t wide;

        if (available < 2 || (p[1] == 126 && available < 4) || (p[1] == 127 && available < 10))
                return 0;
        if ((p[0] & 0x70) || !(p[0] & 0x80) || (p[1] & 0x80))
                ws_fail("a frame that begins with %02x %02x", p[0], p[1]);
        if (p[1] < 126) {
                *ret_size = p[1];
                return 2;
        }
        if (p[1] == 126) {
                *ret_size = (size_t)p[2] << 8 | p[3];
                return 4;
        }
        memcpy(&wide, p + 2, sizeof(wide));
        *ret_size = be64toh(wide);
        if (*ret_size > MAX_FRAME)
                ws_fail("a frame of %zu bytes", *ret_size);
        return 10;
}

/* Decodes one frame if it is complete. */
static bool take_frame(struct ws_client *c)
{
        char *frame = c->in + c->start;
        size_t available = c->size - c->start;
        size_t size = 0;
        size_t head = frame_head((unsigned char *)frame, available, &size);

        if (head == 0 || available - head < size)
                return false;
        c->start += head + size;
        take_message(c, frame[0] & 15, frame + head, size);
        return true;
}

static void take_all(struct ws_client *c)
{
        if (c->protocol == WS_PLAIN) {
                if (c->size > 0)
                        c->on_output(c, c->in, c->size);
                c->start = c->size;
        } else {
                while (!c->closed && take_frame(c))
                        ;
        }
        if (c->start > 0) {
                memmove(c->in, c->in + c->start, c->size - c->start);
                c->size -= c->start;
                c->start = 0;
        }
}

static bool wait_readable(struct ws_client *c, uint64_t deadline_ns)
{
        struct pollfd p = { .fd = c->fd, .events = POLLIN };

        for (;;) {
                uint64_t now = now_ns();
                uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
                struct timespec timeout = {
                        .tv_sec = (time_t)(left / 1000000000U),
                        .tv_nsec = (long)(left % 1000000000U),
                };
                int r = ppoll(&p, 1, &timeout, NULL);

                if (r > 0)
                        return true;
                if (r == 0)
                        return false;
                if (errno != EINTR)
                        ws_fail("poll: %s", strerror(errno));
        }
}

/* Reads once. False: nothing came in time, or it was the end. */
static bool read_some(struct ws_client *c, uint64_t deadline_ns)
{
        ssize_t n;

        if (c->closed || !wait_readable(c, deadline_ns))
                return false;
        if (c->capacity - c->size < READ_SIZE) {
                c->capacity = 2 * c->capacity + READ_SIZE;
                c->in = realloc(c->in, c->capacity);
                if (!c->in)
                        ws_fail("no memory for %zu bytes", c->capacity);
        }
        n = recv(c->fd, c->in + c->size, c->capacity - c->size, 0);
        if (n < 0)
                ws_fail("receive: %s", strerror(errno));
        if (n == 0)
                c->closed = true;
        c->size += (size_t)n;
        return n > 0;
}

/* Waits until something arrives, reads once, and hands out what is complete. */
bool ws_receive(struct ws_client *c, uint64_t deadline_ns)
{
        if (!read_some(c, deadline_ns))
                return false;
        take_all(c);
        return true;
}

/* The frames that have come right behind the 101 stay in the buffer, and are decoded. */
static void shake_hands(struct ws_client *c, const struct ws_target *target, const char *path,
                        uint64_t deadline_ns)
{
        char request[16384];
        char *end = NULL;
        int n;

        n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
                     path, target->port, target->token ? "Authorization: Bearer " : "",
                     target->token ? target->token : "", target->token ? "\r\n" : "");
        if (n < 0 || (size_t)n >= sizeof(request))
                ws_fail("a long path or token");
        send_all(c, request, (size_t)n);

        while (!end) {
                if (!read_some(c, deadline_ns))
                        ws_fail("%s: no answer to the handshake", path);
                end = memmem(c->in, c->size, "\r\n\r\n", 4);
        }
        if (strncmp(c->in, "HTTP/1.1 101 ", 13) != 0)
                ws_fail("%s: %.*s", path, (int)(c->size < 600 ? c->size : 600), c->in);
        c->start = (size_t)(end - c->in) + 4;
        take_all(c);
}

/* Connects to 127.0.0.1 and gets the 101. */
void ws_open(struct ws_client *c, const struct ws_target *target, const char *path,
             ws_output on_output, uint64_t deadline_ns)
{
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons((uint16_t)target->port),
                .sin_addr = { htonl(INADDR_LOOPBACK) },
        };
        int on = 1;

        *c = (struct ws_client){
                .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                .protocol = target->protocol,
                .on_output = on_output,
        };
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                ws_fail("connect to port %u: %s", target->port, strerror(errno));
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (c->protocol != WS_PLAIN)
                shake_hands(c, target, path, deadline_ns);
}

static void forget(struct ws_client *c)
{
        close(c->fd);
        free(c->in);
        c->fd = -1;
        c->in = NULL;
}

/* Ends the connection with the closing handshake. */
void ws_close(struct ws_client *c, uint64_t deadline_ns)
{
        static const char normal[] = { CLOSE_NORMAL >> 8, (char)(CLOSE_NORMAL & 0xff) };

        if (c->protocol == WS_PLAIN)
                (void)shutdown(c->fd, SHUT_WR);
        else
                send_frame(c, OP_CLOSE, normal, sizeof(normal));
        c->closing = true;
        while (!c->closed)
                if (!ws_receive(c, deadline_ns) && !c->closed)
                        ws_fail("the server does not close");
        forget(c);
}

/* Ends it with a reset. */
void ws_cut(struct ws_client *c)
{
        struct linger hard = { .l_onoff = 1 };

        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        forget(c);
}
