/* SPDX-License-Identifier: Apache-2.0 */

/* Answers from files: the right bytes, also of a file that is on the disk only; and an end when there are none. */

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/http/file.h"
#include "agent/http/range.h"
#include "agent/http/request.h"
#include "tests/unit/http_fixture.h"

struct fixture {
        struct http http; /* first: also the app */
        struct client client;
        struct request *late; /* a reference: its handler has not answered */
        bool is_late;
        unsigned n_cancelled;
        char path[64];
        unsigned status;
        uint64_t offset, size; /* to be sent */
        struct range_conditions conditions;
        unsigned n_handled;
        int n_fds; /* open at the start */
};

/* That workers were asked to read. */
static _Atomic uint64_t n_read_ahead;

/* Takes precedence over the C library's. */
int posix_fadvise(int fd, off_t offset, off_t size, int advice)
{
        if (advice == POSIX_FADV_WILLNEED)
                atomic_fetch_add(&n_read_ahead, (uint64_t)size);
        return syscall(SYS_fadvise64, fd, offset, size, advice) < 0 ? errno : 0;
}

static struct fixture *app_of(struct request *req)
{
        return (struct fixture *)request_app(req);
}

static int answer(struct fixture *f, struct request *req)
{
        int fd = open(f->path, O_RDONLY | O_CLOEXEC);

        assert_true(fd >= 0);
        request_set_header(req, "X-Test", "yes");
        return request_reply_file(req, f->status, FILE_TYPE_BYTES, fd, f->offset, f->size);
}

static void on_cancel(void *arg)
{
        ((struct fixture *)arg)->n_cancelled++;
}

static int file_get(struct request *req)
{
        struct fixture *f = app_of(req);

        f->n_handled++;
        range_conditions_done(&f->conditions);
        range_copy_conditions(req, &f->conditions);
        if (!f->is_late)
                return answer(f, req);
        f->late = request_ref(req);
        request_on_cancel(req, on_cancel, f);
        return 0;
}

static int plain_get(struct request *req)
{
        char *text = strdup("plain");

        return request_reply_text(req, 200, "text/plain", text, 5);
}

static const struct route routes[] = {
        { .method = HTTP_GET, .path = "/file", .handler = file_get },
        { .method = HTTP_GET, .path = "/plain", .handler = plain_get },
};

#define GET_FILE  "GET /file HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET_PLAIN "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n"

static char pattern(uint64_t i)
{
        return (char)(i * 31 + (i >> 8) + (i >> 20));
}

static int count_fds(void)
{
        DIR *d = opendir("/proc/self/fd");
        int n = 0;

        assert_non_null(d);
        while (readdir(d))
                n++;
        closedir(d);
        return n;
}

/* A file of @size bytes; what is to be sent: all of it. */
static void make_file(struct fixture *f, uint64_t size)
{
        char *piece = malloc(MIB);
        int fd;

        snprintf(f->path, sizeof(f->path), "/var/tmp/test_http_file.XXXXXX");
        fd = mkstemp(f->path);
        assert_true(fd >= 0);
        for (uint64_t at = 0; at < size; at += MIB) {
                size_t n = (size_t)MIN((uint64_t)MIB, size - at);

                for (size_t i = 0; i < n; i++)
                        piece[i] = pattern(at + i);
                assert_int_equal(write(fd, piece, n), n);
        }
        assert_int_equal(fsync(fd), 0);
        close(fd);
        free(piece);
        f->size = size;
}

static void start(struct fixture *f, struct loop *loop, uint64_t size)
{
        struct server_options o = http_options();

        *f = (struct fixture){ .status = 200 };
        assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR); /* as the agent does */
        http_start(&f->http, loop, routes, ARRAY_LEN(routes), &o);
        make_file(f, size);
        f->n_fds = count_fds();
}

static int has_no_connection(void *arg)
{
        return ((struct fixture *)arg)->http.metrics.connections == 0;
}

static int is_handled(void *arg)
{
        return ((struct fixture *)arg)->n_handled > 0;
}

static int is_cancelled(void *arg)
{
        return ((struct fixture *)arg)->n_cancelled > 0;
}

static void wait_until(struct fixture *f, int (*condition)(void *arg))
{
        assert_true(loop_run_until(f->http.loop, condition, f, HANG_MS));
}

static int has_its_fds(void *arg)
{
        return count_fds() == ((struct fixture *)arg)->n_fds;
}

static void stop(struct fixture *f)
{
        if (f->client.fd >= 0) /* it has not left before */
                client_close(&f->client);
        wait_until(f, has_no_connection);
        wait_until(f, has_its_fds); /* a worker may be reading yet */
        http_stop(&f->http);
        range_conditions_done(&f->conditions);
        unlink(f->path);
}

static void get(struct fixture *f, const char *request, int window)
{
        client_connect(&f->client, &f->http, window);
        client_send(&f->client, request);
}

struct wanted {
        struct client *c;
        size_t size; /* of header and body */
};

static int has_bytes(void *arg)
{
        struct wanted *w = arg;
        const char *end;

        client_read(w->c);
        end = w->c->in.size > 0 ? memmem(w->c->in.data, w->c->in.size, "\r\n\r\n", 4) : NULL;
        return end && w->c->in.size - (size_t)(end + 4 - w->c->in.data) >= w->size;
}

static void expect_body(struct fixture *f, uint64_t offset, uint64_t size)
{
        struct wanted w = { &f->client, size };
        const char *body;

        assert_true(loop_run_until(f->http.loop, has_bytes, &w, HANG_MS));
        body = client_body(&f->client);
        for (uint64_t i = 0; i < size; i++)
                if (body[i] != pattern(offset + i))
                        fail_msg("byte %llu is wrong", (unsigned long long)i);
}

/* Its content is on the disk only, if the file system lets us say so. */
static bool make_cold(struct fixture *f)
{
        int fd = open(f->path, O_RDONLY);
        size_t n = (size_t)((f->size + 4095) / 4096), cached = 0;
        unsigned char *pages = calloc(1, n);
        void *map = mmap(NULL, f->size, PROT_READ, MAP_SHARED, fd, 0);

        assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
        assert_int_equal(mincore(map, f->size, pages), 0);
        for (size_t i = 0; i < n; i++)
                cached += pages[i] & 1;
        munmap(map, f->size);
        free(pages);
        close(fd);
        if (cached > 0)
                print_message("# %zu of %zu pages stay in memory\n", cached, n);
        return cached == 0;
}

static void test_a_file(void **state)
{
        struct fixture f;

        start(&f, *state, 300000);
        get(&f, GET_FILE, 0);
        expect_body(&f, 0, 300000);
        assert_non_null(strstr(f.client.in.data, "HTTP/1.1 200 OK\r\n"));
        assert_non_null(strstr(f.client.in.data, "Content-Length: 300000\r\n"));
        assert_non_null(strstr(f.client.in.data, "Content-Type: application/octet-stream\r\n"));
        assert_non_null(strstr(f.client.in.data, "X-Test: yes\r\n"));
        f.client.in.size = 0;
        client_send(&f.client, GET_FILE GET_PLAIN);
        expect_body(&f, 0, 300000);
        client_expect(&f.http, &f.client, "plain");
        stop(&f);
}

static void test_a_part(void **state)
{
        static const uint64_t parts[][2] = { { 0, 1 },         { 1, 1 },         { 4095, 2 },
                                             { 4096, 4096 },   { 299999, 1 },    { 12345, 200000 },
                                             { 131072, 1000 }, { 300000 - 7, 7 } };
        struct fixture f;

        start(&f, *state, 300000);
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
                for (int cold = 0; cold < 2; cold++) {
                        if (cold)
                                (void)make_cold(&f);
                        f.offset = parts[i][0];
                        f.size = parts[i][1];
                        get(&f, GET_FILE GET_PLAIN, 0);
                        expect_body(&f, f.offset, f.size);
                        client_expect(&f.http, &f.client, "plain");
                        client_close(&f.client);
                        f.size = 300000;
                }
        }
        f.client.fd = -1;
        stop(&f);
}

static void test_head_and_nothing(void **state)
{
        struct fixture f;

        start(&f, *state, 300000);
        get(&f, "HEAD /file HTTP/1.1\r\nHost: a\r\nRange: bytes=1-\r\nrange: x\r\n\r\n" GET_PLAIN,
            0);
        client_expect(&f.http, &f.client, "plain");
        assert_non_null(strstr(f.client.in.data, "Content-Length: 300000\r\n"));
        assert_true(f.client.in.size < 2000);
        assert_false(f.conditions.is_get);
        assert_string_equal(f.conditions.range, "bytes=1-, x");
        assert_null(f.conditions.if_match);
        f.size = 0;
        f.client.in.size = 0;
        client_send(&f.client, GET_FILE GET_PLAIN);
        client_expect(&f.http, &f.client, "plain");
        assert_non_null(strstr(f.client.in.data, "Content-Length: 0\r\n"));
        assert_true(f.conditions.is_get);
        stop(&f);
}

static void test_a_file_that_the_client_has(void **state)
{
        struct fixture f;

        start(&f, *state, 300000);
        f.status = 304;
        get(&f, GET_FILE GET_PLAIN, 0);
        client_expect(&f.http, &f.client, "plain");
        assert_non_null(strstr(f.client.in.data, "HTTP/1.1 304 Not Modified\r\n"));
        assert_non_null(strstr(f.client.in.data, "Content-Length: 300000\r\n"));
        assert_true(f.client.in.size < 2000);
        stop(&f);
}

static void test_a_large_cold_file_to_a_slow_client(void **state)
{
        struct fixture f;

        start(&f, *state, 40 * MIB + 12345);
        (void)make_cold(&f);
        get(&f, GET_FILE GET_PLAIN, 4096);
        expect_body(&f, 0, 40 * MIB + 12345);
        client_expect(&f.http, &f.client, "plain");
        stop(&f);
}

static void read_file(const struct fixture *f)
{
        int fd = open(f->path, O_RDONLY | O_CLOEXEC);
        char *piece = malloc(MIB);

        assert_true(fd >= 0);
        while (read(fd, piece, MIB) > 0)
                ;
        free(piece);
        close(fd);
}

static void drop(const struct fixture *f, off_t offset, off_t size)
{
        int fd = open(f->path, O_RDONLY | O_CLOEXEC);

        assert_int_equal(posix_fadvise(fd, offset, size, POSIX_FADV_DONTNEED), 0);
        close(fd);
}

static void test_what_is_in_memory_costs_no_worker(void **state)
{
        struct fixture f;

        start(&f, *state, 20 * MIB);
        for (int cold = 0; cold < 2; cold++) {
                read_file(&f);
                if (cold)
                        drop(&f, 4 * MIB, 4 * MIB);
                n_read_ahead = 0;
                get(&f, GET_FILE, 0);
                expect_body(&f, 0, 20 * MIB);
                assert_true(n_read_ahead <= (cold ? 8 * MIB : 0));
                client_close(&f.client);
        }
        f.client.fd = -1;
        stop(&f);
}

/* In front of it, in its middle, and by the whole: the client is not left to wait for what is not there. */
static void test_a_file_that_shrinks(void **state)
{
        static const struct {
                uint64_t first, then;
                bool cold;
        } rows[] = { { 0, 0, false },
                     { 5000, 5000, false },
                     { 5000, 5000, true },
                     { 20 * MIB, 9 * MIB, false },
                     { 20 * MIB, 9 * MIB, true },
                     { 20 * MIB, 0, false },
                     { 9 * MIB + 1, 9 * MIB + 1, true } };

        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct fixture f;
                struct wanted w = { &f.client, 1 };

                start(&f, *state, 20 * MIB);
                if (rows[i].cold)
                        (void)make_cold(&f);
                assert_int_equal(truncate(f.path, (off_t)rows[i].first), 0);
                get(&f, GET_FILE, 4096);
                if (rows[i].first > 0)
                        assert_true(loop_run_until(f.http.loop, has_bytes, &w, HANG_MS));
                assert_int_equal(truncate(f.path, (off_t)rows[i].then), 0);
                client_expect_end(&f.http, &f.client);
                assert_true(f.client.in.size < 20 * MIB);
                stop(&f);
        }
}

static void test_a_client_that_leaves(void **state)
{
        for (int how = 0; how < 8; how++) {
                struct fixture f;
                struct wanted w = { &f.client, how & 4 ? MIB : 1 };

                start(&f, *state, 20 * MIB);
                if (how & 1)
                        (void)make_cold(&f);
                get(&f, GET_FILE, 4096);
                if (how & 4)
                        assert_true(loop_run_until(f.http.loop, has_bytes, &w, HANG_MS));
                else
                        wait_until(&f, is_handled);
                if (how & 2)
                        client_abort(&f.client);
                else
                        client_close(&f.client);
                wait_until(&f, has_no_connection);
                f.client.fd = -1;
                stop(&f);
        }
}

static void test_the_agent_stops(void **state)
{
        for (int cold = 0; cold < 2; cold++) {
                struct fixture f;

                start(&f, *state, 20 * MIB);
                if (cold)
                        (void)make_cold(&f);
                get(&f, GET_FILE, 4096);
                wait_until(&f, is_handled);
                http_drain(&f.http);
                server_cancel_requests(f.http.server);
                wait_until(&f, has_no_connection);
                f.n_fds--; /* the server's */
                stop(&f);
        }
}

static void test_an_answer_that_nobody_wants(void **state)
{
        struct fixture f;

        start(&f, *state, 1000);
        f.is_late = true;
        get(&f, GET_FILE, 0);
        wait_until(&f, is_handled);
        client_close(&f.client);
        wait_until(&f, is_cancelled);
        (void)answer(&f, f.late);
        (void)request_unref(f.late);
        f.client.fd = -1;
        stop(&f);
}

/* Many at once, all of them cold, share two workers. */
static void test_many(void **state)
{
        struct client clients[16];
        struct fixture f;

        start(&f, *state, 3 * MIB);
        (void)make_cold(&f);
        for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
                get(&f, GET_FILE, 0);
                clients[i] = f.client;
        }
        client_close(&clients[3]);
        for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
                if (i == 3)
                        continue;
                f.client = clients[i];
                expect_body(&f, 0, 3 * MIB);
                client_close(&f.client);
        }
        f.client.fd = -1;
        stop(&f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, loop_setup, loop_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_a_file),
                TEST(test_a_part),
                TEST(test_head_and_nothing),
                TEST(test_a_file_that_the_client_has),
                TEST(test_a_large_cold_file_to_a_slow_client),
                TEST(test_what_is_in_memory_costs_no_worker),
                TEST(test_a_file_that_shrinks),
                TEST(test_a_client_that_leaves),
                TEST(test_the_agent_stops),
                TEST(test_an_answer_that_nobody_wants),
                TEST(test_many),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
