/* SPDX-License-Identifier: Apache-2.0 */

/* Deliveries on the disk: what is written is read again, and what is damaged stops nothing. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/log.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/base/utf8.h"
#include "agent/webhook/journal.h"

struct fixture {
        char root[64];
        int dir;
};

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);
        struct error err = ERROR_INIT;

        log_init(LOG_LEVEL_ERROR, false); /* damaged files are warnings */
        snprintf(f->root, sizeof(f->root), "/tmp/test-journal-XXXXXX");
        assert_non_null(mkdtemp(f->root));
        assert_int_equal(journal_open(f->root, &f->dir, &err), 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        fd_close(f->dir);
        assert_int_equal(path_remove_tree(f->root), 0);
        free(f);
        return 0;
}

static void write_entry(const struct fixture *f, const char *id, int64_t created_at,
                        const char *secret, const char *headers, const char *body, size_t size)
{
        json_auto_t *json = headers ? json_loads(headers, 0, NULL) : NULL;
        const struct journal_entry e = {
                .id = (char *)id,
                .url = (char *)"http://example.com/x?y",
                .secret = (char *)secret,
                .headers = json,
                .created_at_ms = created_at,
                .body_size = size,
        };
        CLEANUP(mem_free) char *head = journal_head(&e);
        struct error err = ERROR_INIT;

        assert_non_null(head);
        if (journal_write(f->dir, id, head, body, size, &err) < 0)
                fail_msg("%s", err.message);
}

static void read_entry(const struct fixture *f, const char *id, struct journal_entry *e)
{
        struct error err = ERROR_INIT;

        if (journal_read(f->dir, id, true, e, &err) < 0)
                fail_msg("%s", err.message);
}

static void test_round_trip(void **state)
{
        static const char body[] = "{\n \"stdout\": \"\0\n\n{}\"}";
        const struct fixture *f = *state;
        struct journal_entry e;
        struct stat st;

        write_entry(f, "d_1", 1234567890123, "geheim \"\n\xc3\xa9", "{\"A\": \"b\", \"c\": \"\"}",
                    body, sizeof(body));
        read_entry(f, "d_1", &e);
        assert_string_equal(e.id, "d_1");
        assert_string_equal(e.url, "http://example.com/x?y");
        assert_string_equal(e.secret, "geheim \"\n\xc3\xa9");
        assert_string_equal(json_string_value(json_object_get(e.headers, "A")), "b");
        assert_int_equal(json_object_size(e.headers), 2);
        assert_true(e.created_at_ms == 1234567890123);
        assert_int_equal(e.body_size, sizeof(body));
        assert_memory_equal(e.body, body, sizeof(body));
        assert_int_equal(e.note.attempts, 0);
        journal_entry_done(&e);

        write_entry(f, "d_2", 1, NULL, NULL, "", 0);
        read_entry(f, "d_2", &e);
        assert_null(e.secret);
        assert_null(e.headers);
        assert_int_equal(e.body_size, 0);
        journal_entry_done(&e);

        /* Secrets are in there. */
        assert_int_equal(fstatat(f->dir, "d_1.json", &st, 0), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(fstat(f->dir, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_int_equal(faccessat(f->dir, "d_1.tmp", F_OK, 0), -1);

        assert_int_equal(journal_remove(f->dir, "d_1"), 0);
        assert_int_equal(journal_remove(f->dir, "d_1"), -ENOENT);
}

static void append(const struct fixture *f, const char *name, const char *text)
{
        int fd = openat(f->dir, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
        fd_close(fd);
}

static void test_notes(void **state)
{
        const struct fixture *f = *state;
        struct journal_note note = {
                .attempts = 3,
                .last_status = 503,
                .next_attempt_at_ms = 1700000000123,
                .last_error = "HTTP \"503\" \xc3\xa9",
        };
        struct error err = ERROR_INIT;
        struct journal_entry e;

        /* A body that looks like a note is none. */
        write_entry(f, "d", 1, NULL, NULL, "\n{\"attempts\":9}\n", 16);
        assert_int_equal(journal_note(f->dir, "d", &note, &err), 0);
        read_entry(f, "d", &e);
        assert_memory_equal(&e.note, &note, sizeof(note));
        journal_entry_done(&e);

        /* One that was cut short, here by a crash, and the next one behind it. */
        append(f, "d.json", "\n{\"attempts\":4,\"next_att");
        read_entry(f, "d", &e);
        assert_int_equal(e.note.attempts, 3);
        journal_entry_done(&e);
        note.attempts = 5;
        assert_int_equal(journal_note(f->dir, "d", &note, &err), 0);
        read_entry(f, "d", &e);
        assert_int_equal(e.note.attempts, 5);
        journal_entry_done(&e);

        assert_int_equal(journal_note(f->dir, "nobody", &note, &err), -ENOENT);
}

/* What is no note, though it is JSON, says nothing. */
static void test_damaged_notes(void **state)
{
        static const char *const notes[] = {
                "{\"attempts\":1,\"next_attempt_at_ms\":-1,\"last_error\":\"\",\"last_status\":0}\n",
                ("{\"attempts\":1,\"next_attempt_at_ms\":-9223372036854775808,\"last_error\":\"\","
                 "\"last_status\":0}\n"),
                "{\"attempts\":-1,\"next_attempt_at_ms\":1,\"last_error\":\"\",\"last_status\":0}\n",
                "{\"attempts\":1,\"next_attempt_at_ms\":1,\"last_error\":2,\"last_status\":0}\n",
        };
        const struct fixture *f = *state;
        struct journal_entry e;

        write_entry(f, "d", 1, NULL, NULL, "{}", 2);
        for (size_t i = 0; i < ARRAY_LEN(notes); i++)
                append(f, "d.json", notes[i]);
        read_entry(f, "d", &e);
        assert_int_equal(e.note.attempts, 0);
        assert_true(e.note.next_attempt_at_ms == 0);
        journal_entry_done(&e);
}

/* An error may quote somebody else's text, and it is cut where its buffer ends. */
static void test_note_in_foreign_words(void **state)
{
        const struct fixture *f = *state;
        struct journal_note note = { .attempts = 2,
                                     .last_error = "certificate of \xfc\xe4 \xc3\xa9" };
        CLEANUP(mem_free) char *text = xcalloc(1, 1024);
        struct error err = ERROR_INIT;
        struct journal_entry e;

        write_entry(f, "d", 1, NULL, NULL, "{}", 2);
        if (journal_note(f->dir, "d", &note, &err) < 0)
                fail_msg("%s", err.message);
        read_entry(f, "d", &e);
        assert_int_equal(e.note.attempts, 2);
        assert_string_equal(e.note.last_error, "certificate of ?? \xc3\xa9");
        journal_entry_done(&e);

        for (size_t shift = 0; shift < 2; shift++) {
                int n = snprintf(text, 1024,
                                 "{\"attempts\":%zu,\"next_attempt_at_ms\":1,"
                                 "\"last_status\":0,\"last_error\":\"%.*s",
                                 3 + shift, (int)shift, "x");

                for (unsigned i = 0; i < JOURNAL_ERROR_SIZE; i++)
                        n += snprintf(text + n, 1024 - (size_t)n, "\xc3\xa9");
                snprintf(text + n, 1024 - (size_t)n, "\"}\n");
                append(f, "d.json", text);
                read_entry(f, "d", &e);
                assert_int_equal(e.note.attempts, 3 + shift);
                assert_true(utf8_is_valid(e.note.last_error, strlen(e.note.last_error)));
                journal_entry_done(&e);
        }
}

/* A disk without room, as far as a process without one can have it. */
static void test_no_room(void **state)
{
        const struct fixture *f = *state;
        const struct rlimit small = { 4096, RLIM_INFINITY };
        const struct journal_entry e = { .id = (char *)"d",
                                         .url = (char *)"http://x/",
                                         .body_size = 8192 };
        CLEANUP(mem_free) char *head = journal_head(&e);
        CLEANUP(mem_free) char *body = xcalloc(1, 8192);
        struct error err = ERROR_INIT;
        struct rlimit before;
        int r;

        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
        (void)signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        r = journal_write(f->dir, "d", head, body, 8192, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);

        assert_int_equal(r, -EFBIG);
        assert_string_equal(err.message, "webhook journal: write d.json: File too large");
        assert_int_equal(faccessat(f->dir, "d.json", F_OK, 0), -1);
        assert_int_equal(faccessat(f->dir, "d.tmp", F_OK, 0), -1);
}

struct found {
        char ids[16][80];
        unsigned n;
};

static void on_found(void *arg, struct journal_entry *e)
{
        struct found *found = arg;

        assert_null(e->body);
        assert_true(found->n < ARRAY_LEN(found->ids));
        snprintf(found->ids[found->n++], sizeof(found->ids[0]), "%s", e->id);
}

static void scan(const struct fixture *f, struct found *found)
{
        struct error err = ERROR_INIT;

        *found = (struct found){ 0 };
        assert_int_equal(journal_scan(f->dir, on_found, found, &err), 0);
}

static void expect_file(const struct fixture *f, const char *name, bool expected)
{
        if ((faccessat(f->dir, name, F_OK, 0) == 0) != expected)
                fail_msg("%s", name);
}

static void test_scan(void **state)
{
        const struct fixture *f = *state;
        struct found found;

        scan(f, &found);
        assert_int_equal(found.n, 0);

        write_entry(f, "younger", 300, NULL, NULL, "{}", 2);
        write_entry(f, "oldest", 100, "s", NULL, "{}", 2);
        write_entry(f, "older", 200, NULL, NULL, "{}", 2);
        append(f, "half.tmp", "{\"version\":1,");
        append(f, "README", "not ours");
        append(f, "we ird.json", "not ours either");
        scan(f, &found);
        assert_int_equal(found.n, 3);
        assert_string_equal(found.ids[0], "oldest");
        assert_string_equal(found.ids[1], "older");
        assert_string_equal(found.ids[2], "younger");
        expect_file(f, "half.tmp", false);
        expect_file(f, "README", true);
        expect_file(f, "we ird.json", true);
}

static void test_damaged_files(void **state)
{
        static const char *const contents[] = {
                "",
                "{",
                "no json\n",
                "[]\n{}\n",
                "{\"version\":2,\"id\":\"bad\",\"url\":\"u\",\"created_at_ms\":1,\"body_size\":0}\n\n",
                "{\"version\":1,\"id\":\"other\",\"url\":\"u\",\"created_at_ms\":1,\"body_size\":0}\n\n",
                "{\"version\":1,\"id\":\"bad\",\"url\":\"u\",\"created_at_ms\":1,\"body_size\":-1}\n\n",
                "{\"version\":1,\"id\":\"bad\",\"url\":\"u\",\"created_at_ms\":1,\"body_size\":99999999999999}\n\n",
                "{\"version\":1,\"id\":\"bad\",\"url\":\"u\",\"created_at_ms\":1,\"body_size\":10}\n{}\n",
                "{\"version\":1,\"id\":\"bad\",\"created_at_ms\":1,\"body_size\":0}\n\n",
#define HEAD "{\"version\":1,\"id\":\"bad\",\"url\":\"u\",\"body_size\":0"
                HEAD ",\"created_at_ms\":1,\"headers\":{\"A\":1}}\n\n",
                HEAD ",\"created_at_ms\":1,\"headers\":{\"A\":null}}\n\n",
                HEAD ",\"created_at_ms\":1,\"headers\":{\"A\":\"1\\r\\nB: 2\"}}\n\n",
                HEAD ",\"created_at_ms\":1,\"headers\":[\"A\"]}\n\n",
                HEAD ",\"created_at_ms\":1,\"headers\":\"A\"}\n\n",
                HEAD ",\"created_at_ms\":1,\"secret\":1}\n\n", /* must not be sent without one */
                HEAD ",\"created_at_ms\":-1}\n\n",
#undef HEAD
        };
        const struct fixture *f = *state;
        struct error err = ERROR_INIT;
        struct journal_entry e;
        struct found found;

        write_entry(f, "good", 1, NULL, NULL, "{}", 2);
        for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
                append(f, "bad.json", contents[i]);
                assert_int_equal(journal_read(f->dir, "bad", true, &e, &err), -EINVAL);
                assert_non_null(strstr(err.message, "bad.json is damaged"));
                scan(f, &found);
                assert_int_equal(found.n, 1);
                expect_file(f, "bad.json", false);
                expect_file(f, "bad.json.damaged", true);
        }
        scan(f, &found); /* is not set aside again */
        expect_file(f, "bad.json.damaged.json", false);

        assert_int_equal(mkdirat(f->dir, "folder.json", 0700), 0);
        assert_int_equal(mkfifoat(f->dir, "fifo.json", 0600), 0); /* must not hang */
        assert_int_equal(symlinkat("/etc/passwd", f->dir, "link.json"), 0);
        scan(f, &found);
        assert_int_equal(found.n, 1);
        expect_file(f, "fifo.json.damaged", true);
}

/* Only so many are kept, or a bad disk fills up with them. */
static void test_damaged_files_are_few(void **state)
{
        const struct fixture *f = *state;
        struct found found;
        unsigned n = 0;
        char name[32];

        for (int i = 0; i < LIMIT_WEBHOOK_DAMAGED + 5; i++) {
                snprintf(name, sizeof(name), "d%d.json", i);
                append(f, name, "?");
                scan(f, &found);
        }
        for (int i = 0; i < LIMIT_WEBHOOK_DAMAGED + 5; i++) {
                snprintf(name, sizeof(name), "d%d.json", i);
                expect_file(f, name, false);
                snprintf(name, sizeof(name), "d%d.json.damaged", i);
                n += faccessat(f->dir, name, F_OK, 0) == 0;
        }
        assert_int_equal(n, LIMIT_WEBHOOK_DAMAGED);
}

/* Every way to cut a file off: it is whole, or it is damaged; notes are all that may be missing. */
static void test_cut_off(void **state)
{
        const struct fixture *f = *state;
        struct journal_note note = { .attempts = 1, .last_error = "x" };
        struct error err = ERROR_INIT;
        struct buf file;
        char path[128];
        size_t whole;

        write_entry(f, "d", 1, "s", "{\"A\": \"b\"}", "{\"x\":1}", 7);
        snprintf(path, sizeof(path), "%s/webhooks/d.json", f->root);
        buf_init(&file, 0);
        assert_int_equal(fd_read_file(path, MIB, &file, &err), 0);
        whole = file.size;
        assert_int_equal(journal_note(f->dir, "d", &note, &err), 0);
        buf_done(&file);
        assert_int_equal(fd_read_file(path, MIB, &file, &err), 0);

        for (size_t size = file.size;; size--) {
                struct journal_entry e;
                int r;

                assert_int_equal(truncate(path, (off_t)size), 0);
                r = journal_read(f->dir, "d", true, &e, &err);
                assert_int_equal(r, size >= whole ? 0 : -EINVAL);
                if (r == 0) {
                        assert_string_equal(e.body, "{\"x\":1}");
                        assert_int_equal(e.note.attempts, size == file.size);
                        journal_entry_done(&e);
                }
                if (size == 0)
                        break;
        }
        buf_done(&file);
}

static void test_ids(void **state)
{
        char id[LIMIT_WEBHOOK_ID + 2] = "";

        (void)state;
        memset(id, 'a', sizeof(id) - 1);
        assert_false(journal_id_is_valid(id));
        assert_true(journal_id_is_valid(id + 1));
        assert_true(journal_id_is_valid("exec_0aZ-"));
        assert_false(journal_id_is_valid(""));
        assert_false(journal_id_is_valid("../x"));
        assert_false(journal_id_is_valid("a.b"));
        assert_false(journal_id_is_valid("a b"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
                cmocka_unit_test_setup_teardown(test_notes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_damaged_notes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_note_in_foreign_words, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
                cmocka_unit_test_setup_teardown(test_scan, setup, teardown),
                cmocka_unit_test_setup_teardown(test_damaged_files, setup, teardown),
                cmocka_unit_test_setup_teardown(test_damaged_files_are_few, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
                cmocka_unit_test(test_ids),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
