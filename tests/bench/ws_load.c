/* SPDX-License-Identifier: Apache-2.0 */

/* The load for terminals: keys and their echo, floods, many terminals, clients that stop reading and
 * clients that vanish. It is used for all sides of a comparison, and is as strict as load.c: what does
 * not come, comes twice or comes wrong is an error. Results are JSON, one line for each stage; after a
 * stage that the caller wants to look at, it waits for a line on stdin, and ends when that has ended. */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/samples.h"
#include "tests/bench/ws_client.h"

#define MS_NS     1000000ULL
#define N_WARM_UP 20 /* keys that do not count */
#define KEYS_PER_LINE \
        40 /* then the line is erased: it must not wrap, nor reach the 4096 of a canonical one */
#define SILENCE_NS   (30 * MS_NS) /* nothing for so long: all that was to come is here */
#define FIRST_NUMBER 10000000U    /* of the counted flood: each of its lines has ten bytes */
#define NUMBER_LINE  10

/* The markers are computed by the shell, so the echo of the command is not one. Neither of the floods has a
 * letter E in it. */
#define BEGIN_MARK "BEGIN-42\r\n"
#define END_MARK   "END-42\r\n"
#define FLOOD_LINE "echo BEGIN-$((40+2)); %s; echo END-$((40+2))\n"

struct terminal {
        struct ws_client client;
        char tail[2]; /* the last two bytes: a prompt ends like this */
        char awaited; /* the key whose echo is missing; 0: none */
        uint64_t echoed_ns;
};

struct flood {
        enum { FLOOD_BEFORE, FLOOD_INSIDE, FLOOD_AFTER, FLOOD_DONE } phase;
        size_t matched; /* of the mark that is looked for */
        size_t size;
        size_t expected;
        bool is_counted; /* it consists of numbers, which are compared */
        char number[NUMBER_LINE + 1];
};

static struct {
        struct ws_target target;
        const char *mode;
        size_t count;
        unsigned gap_ms;
        unsigned stall_s;
        bool has_prompt;
        unsigned max_seconds;
        char **paths;
        size_t n_paths;
        uint64_t deadline_ns;
} options = { .count = 1, .max_seconds = 60 };

static struct flood flood;

static void on_output(struct ws_client *c, const char *data, size_t size)
{
        struct terminal *t = (struct terminal *)c; /* the first member */

        if (size == 0)
                return;
        if (t->awaited && memchr(data, t->awaited, size)) {
                t->awaited = '\0';
                t->echoed_ns = now_ns(); /* what came with it, such as a ping, is for afterwards */
        }
        t->tail[0] = size > 1 ? data[size - 2] : t->tail[1];
        t->tail[1] = data[size - 1];
}

/* Whatever comes in the meantime is taken, pings are answered. */
static void wait_until(struct terminal *t, uint64_t deadline_ns)
{
        while (ws_receive(&t->client, deadline_ns))
                ;
        if (t->client.closed)
                ws_fail("the server closed the connection");
}

static void receive_more(struct terminal *t, const char *what)
{
        if (!ws_receive(&t->client, options.deadline_ns))
                ws_fail(t->client.closed ? "%s: the server closed the connection"
                                         : "%s: out of time",
                        what);
}

static void wait_silence(struct terminal *t)
{
        while (ws_receive(&t->client, now_ns() + SILENCE_NS))
                if (now_ns() > options.deadline_ns)
                        ws_fail("the terminal does not become silent");
        if (t->client.closed)
                ws_fail("the server closed the connection");
}

static void open_terminal(struct terminal *t, size_t i)
{
        *t = (struct terminal){ .awaited = '\0' };
        ws_open(&t->client, &options.target, options.paths[i % options.n_paths], on_output,
                options.deadline_ns);
}

/* The npm peer's programs start before anyone listens, so their first prompt is lost: Enter brings another. */
static void wait_prompt(struct terminal *t)
{
        if (options.target.protocol == WS_PEER)
                ws_type(&t->client, "\n", 1);
        while (t->tail[1] != ' ' || (t->tail[0] != '$' && t->tail[0] != '#'))
                receive_more(t, "prompt");
}

static void type_key(struct terminal *t, char key)
{
        t->awaited = key;
        ws_type(&t->client, &key, 1);
}

static void wait_echo(struct terminal *t)
{
        while (t->awaited)
                receive_more(t, "echo");
}

/* Typists are no metronomes: half to one and a half of the gap, the same row of gaps for everybody. */
static uint64_t next_gap_ns(void)
{
        static uint64_t state = 1;

        state = state * 6364136223846793005U + 1442695040888963407U;
        return options.gap_ms * MS_NS / 2 + (state >> 33) % (options.gap_ms * MS_NS);
}

/* True when the caller wants to go on, false when it has closed stdin. Terminals are served meanwhile. */
static bool wait_caller(struct terminal *terminals, size_t n)
{
        struct pollfd *polled = calloc(n + 1, sizeof(*polled));
        char line[16];
        ssize_t size;

        if (!polled)
                ws_fail("no memory");
        for (size_t i = 0; i < n; i++)
                polled[i + 1] = (struct pollfd){ .fd = terminals[i].client.fd, .events = POLLIN };
        polled[0] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
        fflush(stdout);

        do {
                if (poll(polled, n + 1, -1) < 0 && errno != EINTR)
                        ws_fail("poll: %s", strerror(errno));
                for (size_t i = 0; i < n; i++)
                        if (polled[i + 1].revents && !ws_receive(&terminals[i].client, 0))
                                ws_fail("the server closed connection %zu", i);
        } while (!polled[0].revents);
        free(polled);
        size = read(STDIN_FILENO, line, sizeof(line));
        return size > 0;
}

static void close_all(struct terminal *terminals, size_t n)
{
        for (size_t i = 0; i < n; i++)
                ws_close(&terminals[i].client, options.deadline_ns);
}

/* --- echo: one key, its echo, the next --- */

static void run_echo(void)
{
        struct samples samples;
        struct terminal t;

        samples_init(&samples, options.count);
        open_terminal(&t, 0);
        if (options.has_prompt)
                wait_prompt(&t);
        for (size_t i = 0; i < N_WARM_UP + options.count; i++) {
                uint64_t start;

                if (i % KEYS_PER_LINE == 0 && i > 0 && options.target.protocol != WS_LINES)
                        ws_type(&t.client, "\x15", 1); /* Ctrl-U */
                if (i % KEYS_PER_LINE == 0)
                        wait_silence(&t);
                if (options.gap_ms > 0)
                        wait_until(&t, now_ns() + next_gap_ns());
                start = now_ns();
                type_key(&t, (char)('a' + i % 26));
                wait_echo(&t);
                if (i >= N_WARM_UP)
                        samples_add(&samples, t.echoed_ns - start);
        }
        printf("{\"count\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", samples.n,
               samples_percentile_us(&samples, 50), samples_percentile_us(&samples, 99));
        ws_close(&t.client, options.deadline_ns);
        samples_done(&samples);
}

/* --- flood, and a flood that nobody reads for a while --- */

static void next_number(char *number)
{
        int i = NUMBER_LINE - 3; /* the last digit, before CR and LF */

        while (number[i] == '9')
                number[i--] = '0';
        number[i]++;
}

static void compare_numbers(const char *data, size_t size)
{
        size_t at = flood.size % NUMBER_LINE;

        for (size_t i = 0; i < size; i++) {
                if (data[i] != flood.number[at])
                        ws_fail("lost, doubled or wrong output after %zu of %zu bytes",
                                flood.size + i, flood.expected);
                if (++at == NUMBER_LINE) {
                        next_number(flood.number);
                        at = 0;
                }
        }
}

/* Takes bytes of @mark, beginning with what was there before; returns how many were used. */
static size_t match_mark(const char *mark, const char *data, size_t size)
{
        size_t used = 0;

        while (used < size && mark[flood.matched]) {
                if (data[used] != mark[flood.matched])
                        flood.matched = data[used] == mark[0];
                else
                        flood.matched++;
                used++;
        }
        if (!mark[flood.matched]) {
                flood.matched = 0;
                flood.phase++;
        }
        return used;
}

static void on_flood(struct ws_client *c, const char *data, size_t size)
{
        (void)c;
        while (size > 0 && flood.phase != FLOOD_DONE) {
                const char *end;
                size_t used;

                if (flood.phase != FLOOD_INSIDE) {
                        used = match_mark(flood.phase == FLOOD_BEFORE ? BEGIN_MARK : END_MARK, data,
                                          size);
                } else {
                        end = memchr(data, END_MARK[0], size);
                        used = end ? (size_t)(end - data) : size;
                        if (flood.is_counted)
                                compare_numbers(data, used);
                        flood.size += used;
                        if (end)
                                flood.phase = FLOOD_AFTER;
                }
                data += used;
                size -= used;
        }
}

static void flood_start(struct terminal *t, const char *command)
{
        char line[256];

        t->client.on_output = on_flood;
        snprintf(line, sizeof(line), FLOOD_LINE, command);
        ws_type(&t->client, line, strlen(line));
}

static void flood_finish(struct terminal *t)
{
        while (flood.phase != FLOOD_DONE) {
                if (!ws_receive(&t->client, options.deadline_ns))
                        ws_fail("the flood stopped after %zu of %zu bytes", flood.size,
                                flood.expected);
        }
        if (flood.size != flood.expected)
                ws_fail("%zu bytes instead of %zu", flood.size, flood.expected);
        t->client.on_output = on_output;
}

static void run_flood(void)
{
        size_t encoded = (options.count * 1024 * 1024 + 2) / 3 * 4;
        struct terminal t;
        char command[128];
        uint64_t start;
        double seconds;

        /* Lines of 76, and what was LF is CR LF on a terminal. */
        flood = (struct flood){ .expected = encoded + 2 * ((encoded + 75) / 76) };
        snprintf(command, sizeof(command), "head -c %zuM /dev/zero | base64", options.count);

        open_terminal(&t, 0);
        wait_prompt(&t);
        wait_silence(&t);
        printf("{\"stage\": \"idle\"}\n");
        if (wait_caller(&t, 1)) {
                start = now_ns();
                flood_start(&t, command);
                flood_finish(&t);
                seconds = (double)(now_ns() - start) / 1e9;
                printf("{\"stage\": \"flood\", \"bytes\": %zu, \"seconds\": %.6f}\n", flood.size,
                       seconds);
                (void)wait_caller(&t, 1);
        }
        ws_close(&t.client, options.deadline_ns);
}

static void run_stall(void)
{
        struct terminal t;
        char command[128];

        flood = (struct flood){ .expected = options.count * NUMBER_LINE, .is_counted = true };
        snprintf(flood.number, sizeof(flood.number), "%u\r\n", FIRST_NUMBER);
        snprintf(command, sizeof(command), "seq %u %zu", FIRST_NUMBER,
                 FIRST_NUMBER + options.count - 1);

        open_terminal(&t, 0);
        wait_prompt(&t);
        wait_silence(&t);
        printf("{\"stage\": \"idle\"}\n");
        if (!wait_caller(&t, 1))
                return;
        flood_start(&t, command);
        (void)poll(NULL, 0, (int)options.stall_s * 1000);
        printf("{\"stage\": \"stalled\"}\n");
        if (!wait_caller(NULL, 0))
                return;
        flood_finish(&t);
        wait_silence(&t);
        printf("{\"stage\": \"after\", \"bytes\": %zu}\n", flood.size);
        (void)wait_caller(&t, 1);
        ws_close(&t.client, options.deadline_ns);
}

/* --- many terminals --- */

static void run_idle(void)
{
        struct terminal *terminals = calloc(options.count, sizeof(*terminals));
        uint64_t start = now_ns();

        if (!terminals)
                ws_fail("no memory");
        for (size_t i = 0; i < options.count; i++)
                open_terminal(&terminals[i], i);
        for (size_t i = 0; options.has_prompt && i < options.count; i++)
                wait_prompt(&terminals[i]);
        for (size_t i = 0; i < options.count; i++)
                type_key(&terminals[i], 'x');
        for (size_t i = 0; i < options.count; i++)
                wait_echo(&terminals[i]);
        printf("{\"stage\": \"ready\", \"terminals\": %zu, \"seconds\": %.6f}\n", options.count,
               (double)(now_ns() - start) / 1e9);
        (void)wait_caller(terminals, options.count);
        close_all(terminals, options.count);
        free(terminals);
}

static void run_connects(void)
{
        uint64_t start = now_ns();

        for (size_t i = 0; i < options.count; i++) {
                struct terminal t;

                open_terminal(&t, i);
                type_key(&t, 'x');
                wait_echo(&t);
                if (i % 2)
                        ws_cut(&t.client);
                else
                        ws_close(&t.client, options.deadline_ns);
        }
        printf("{\"connects\": %zu, \"seconds\": %.6f}\n", options.count,
               (double)(now_ns() - start) / 1e9);
}

/* --- options --- */

static const struct {
        const char *name;
        void (*run)(void);
} modes[] = {
        { "echo", run_echo }, { "flood", run_flood },       { "stall", run_stall },
        { "idle", run_idle }, { "connects", run_connects },
};

static const char *const protocols[] = { "agent", "lines", "peer", "plain" };

static void parse_protocol(const char *name)
{
        for (size_t i = 0; i < sizeof(protocols) / sizeof(*protocols); i++) {
                if (strcmp(protocols[i], name) == 0) {
                        options.target.protocol = (enum ws_protocol)i;
                        return;
                }
        }
        ws_fail("no such protocol: %s", name);
}

static void parse_options(int argc, char **argv)
{
        int o;

        while ((o = getopt(argc, argv, "m:P:p:a:n:g:s:wt:")) != -1) {
                unsigned long number = optarg ? strtoul(optarg, NULL, 10) : 0;

                switch (o) {
                case 'm':
                        options.mode = optarg;
                        break;
                case 'P':
                        parse_protocol(optarg);
                        break;
                case 'p':
                        options.target.port = (unsigned)number;
                        break;
                case 'a':
                        options.target.token = optarg;
                        break;
                case 'n':
                        options.count = number;
                        break;
                case 'g':
                        options.gap_ms = (unsigned)number;
                        break;
                case 's':
                        options.stall_s = (unsigned)number;
                        break;
                case 'w':
                        options.has_prompt = true;
                        break;
                case 't':
                        options.max_seconds = (unsigned)number;
                        break;
                default:
                        exit(2);
                }
        }
        options.paths = argv + optind;
        options.n_paths = (size_t)(argc - optind);
        options.deadline_ns = now_ns() + options.max_seconds * 1000 * MS_NS;
        if (!options.mode || !options.target.port || !options.count || !options.n_paths)
                ws_fail("usage: ws_load -m MODE -P PROTOCOL -p PORT [-a TOKEN] [-n COUNT] [-g GAP_MS] "
                        "[-s STALL_S] [-w] [-t MAX_SECONDS] PATH...");
}

int main(int argc, char **argv)
{
        parse_options(argc, argv);
        for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
                if (strcmp(modes[i].name, options.mode) == 0) {
                        modes[i].run();
                        return 0;
                }
        }
        ws_fail("no such mode: %s", options.mode);
}
