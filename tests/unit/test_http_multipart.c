/* SPDX-License-Identifier: Apache-2.0 */

/* Forms as events: what different clients send, in pieces of any size. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/http/multipart.h"

#define TYPE "multipart/form-data; boundary=XX"
#define PART(name, value) \
        "--XX\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define FILE_PART(disposition, value) \
        "--XX\r\nContent-Disposition: form-data; " disposition "\r\n\r\n" value "\r\n"
#define END "--XX--\r\n"

/* Everything that was reported, as text: F name=value;  B name filename type[content] */
struct log {
        struct buf text;
        int fail_at; /* the event that fails, from 1 */
        int n;
};

static int event(struct log *l)
{
        return ++l->n == l->fail_at ? -EDQUOT : 0;
}

static int on_field(void *arg, const char *name, const char *value, size_t size, struct error *err)
{
        struct log *l = arg;

        (void)err;
        assert_int_equal(value[size], '\0');
        (void)buf_appendf(&l->text, "F %s=", name);
        (void)buf_append(&l->text, value, size);
        (void)buf_append_str(&l->text, ";");
        return event(l);
}

static int on_file(void *arg, const struct multipart_file *file, struct error *err)
{
        struct log *l = arg;

        (void)err;
        (void)buf_appendf(&l->text, "B %s %s %s[", file->name, file->filename,
                          file->type ? file->type : "-");
        return event(l);
}

static int on_data(void *arg, const char *data, size_t size, struct error *err)
{
        struct log *l = arg;

        (void)err;
        assert_true(size > 0);
        (void)buf_append(&l->text, data, size);
        return event(l);
}

static int on_file_end(void *arg, struct error *err)
{
        struct log *l = arg;

        (void)err;
        (void)buf_append_str(&l->text, "];");
        return event(l);
}

static const struct multipart_ops ops = { on_field, on_file, on_data, on_file_end };

/* Feeds @data in pieces of @piece bytes, each in memory of its own. */
static int feed(struct multipart *m, const char *data, size_t size, size_t piece, struct error *err)
{
        int r = 0;

        for (size_t at = 0; at < size && r == 0; at += piece) {
                size_t n = MIN(piece, size - at);
                char *copy = malloc(n);

                memcpy(copy, data + at, n);
                r = multipart_feed(m, copy, n, err);
                free(copy);
        }
        return r;
}

static int run(const char *type, const char *data, size_t size, size_t piece, struct log *l)
{
        struct multipart *m = NULL;
        struct error err = ERROR_INIT;
        int r;

        buf_init(&l->text, 0);
        (void)buf_append_str(&l->text, "");
        r = multipart_new(type, &ops, l, &m, &err);
        if (r == 0)
                r = feed(m, data, size, piece, &err);
        if (r == 0)
                r = multipart_end(m, &err);
        if (r < 0)
                assert_true(err.message[0] != '\0' || r == -EDQUOT);
        multipart_free(m);
        return r;
}

/* The same events, however the body is cut. */
static void expect(const char *type, const char *body, const char *events)
{
        size_t size = strlen(body);

        for (size_t piece = 1; piece <= size + 1; piece++) {
                struct log l = { 0 };
                int r = run(type, body, size, piece, &l);

                if (r != 0)
                        fail_msg("%d for pieces of %zu of %s", r, piece, body);
                assert_string_equal(l.text.data ? l.text.data : "", events);
                buf_done(&l.text);
        }
}

static void expect_error(const char *type, const char *body, int error)
{
        size_t size = strlen(body);

        for (size_t piece = 1; piece <= size + 1; piece++) {
                struct log l = { 0 };
                int r = run(type, body, size, piece, &l);

                if (r != error)
                        fail_msg("%d for pieces of %zu of %s", r, piece, body);
                buf_done(&l.text);
        }
}

static void test_fields_and_files(void **state)
{
        (void)state;
        expect(TYPE,
               PART("path", "/tmp/x") FILE_PART("name=\"file\"; filename=\"a.txt\"", "hello") END,
               "F path=/tmp/x;B file a.txt -[hello];");
        expect(TYPE,
               "--XX\r\ncontent-type:text/plain\r\nCONTENT-DISPOSITION:form-data;name=f;"
               "filename=a.txt\r\n\r\nhi\r\n" PART("path", "") END,
               "B f a.txt text/plain[hi];F path=;");
        expect(TYPE, END, "");
}

static void test_content_that_looks_like_a_delimiter(void **state)
{
        (void)state;
        expect(TYPE, FILE_PART("name=f; filename=a", "\r\n--X\r\n--Y\r\r\n--\r\n\r\n--XY") END,
               "B f a -[\r\n--X\r\n--Y\r\r\n--\r\n\r\n--XY];");
        expect(TYPE, FILE_PART("name=f; filename=a", "\r\n") END, "B f a -[\r\n];");
        expect(TYPE, FILE_PART("name=f; filename=a", "--X") END, "B f a -[--X];");
        expect(TYPE, FILE_PART("name=f; filename=a", "-") END, "B f a -[-];");
        expect(TYPE, FILE_PART("name=f; filename=a", "x--XX--y\n--XX--\r") END,
               "B f a -[x--XX--y\n--XX--\r];");
}

static void test_empty_parts(void **state)
{
        (void)state;
        expect(TYPE, FILE_PART("name=f; filename=\"\"", "") END, "B f  -[];");
        /* The empty line may also be the delimiter's. */
        expect(TYPE,
               "--XX\r\nContent-Disposition: form-data; name=f; filename=a\r\n\r\n" PART("p", "1")
                       END,
               "B f a -[];F p=1;");
}

static void test_what_is_around(void **state)
{
        (void)state;
        expect(TYPE, "a preamble\r\n\r\n--X\r\n" PART("p", "1") END "an epilogue\r\n--XX\r\n",
               "F p=1;");
        expect(TYPE, "\r\n--XX \t \r\nContent-Disposition: form-data; name=p\r\n\r\n1\r\n--XX--",
               "F p=1;");
}

static void test_boundaries(void **state)
{
        (void)state;
        expect("Multipart/Form-Data; charset=utf-8; Boundary=\"XX\"", PART("p", "1") END, "F p=1;");
        expect("multipart/form-data;boundary=XX; charset=utf-8", PART("p", "1") END, "F p=1;");
        expect("multipart/form-data; xboundary=Y; boundary=XX", PART("p", "1") END, "F p=1;");
        expect("multipart/form-data; boundary=\"a b\\\"c\"",
               "--a b\"c\r\nContent-Disposition: form-data; name=p\r\n\r\n1\r\n--a b\"c--",
               "F p=1;");
}

static void test_types_that_are_none(void **state)
{
        static const char *const types[] = {
                NULL,
                "",
                "text/plain",
                "multipart/mixed; boundary=XX",
                "multipart/form-datax; boundary=XX",
                "multipart/form-data",
                "multipart/form-data; boundary",
                "multipart/form-data; boundary=",
                "multipart/form-data; boundary=\"XX",
                "multipart/form-data; boundary=\"\"",
        };
        char *longest = xcalloc(1, 400);

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(types); i++)
                expect_error(types[i], "x", -EINVAL);
        memset(longest, 'b', 300);
        memcpy(longest, "multipart/form-data; boundary=", 30);
        expect_error(longest, "x", -EINVAL);
        free(longest);
}

static void test_names(void **state)
{
        /* clang-format off */
        static const struct {
                const char *disposition;
                const char *filename;
        } rows[] = {
                { "name=f; filename=\"a b;c=d.txt\"", "a b;c=d.txt" },
                { "name=f; filename=\"a\\\"b\\\\c\"", "a\"b\\c" },   /* curl */
                { "name=f; filename=\"a\\b\"", "a\\b" },             /* browsers */
                { "name=f; filename=\"a%22b%0D%0Ac\"", "a\"b\r\nc" }, /* browsers, httpx */
                { "name=f; filename=\"100%25 %2F\"", "100%25 %2F" },
                { "name=f; filename=\"\xf0\x9f\x98\x80\xc3\xa9\"", "\xf0\x9f\x98\x80\xc3\xa9" },
                { "name=f; filename=\"_.txt\"; filename*=UTF-8''na%C3%AFve%20%25.txt", "na\xc3\xafve %.txt" },
                { "name=f; filename*=utf-8'en'x; filename=y", "x" },
                { "name=f; filename=y; filename*=ISO-8859-1''x", "y" },
                { "name=f; filename=y; filename*=UTF-8''a%00b", "y" },
                { "name=f; filename=y; filename*=broken", "y" },
                { "filename=\"name=x\"; name=f", "name=x" },
                { "name = \"f\" ; filename = \"a\" ;", "a" },
                { "name=f;\r\n filename=folded", "folded" },
                { "name=f; filename=\"../../etc/passwd\"", "../../etc/passwd" },
        };
        /* clang-format on */

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                char *body = xasprintf(
                        "--XX\r\nContent-Disposition: form-data; %s\r\n\r\n1\r\n" END,
                        rows[i].disposition);
                char *events = xasprintf("B f %s -[1];", rows[i].filename);

                expect(TYPE, body, events);
                free(body);
                free(events);
        }
}

static void test_malformed(void **state)
{
        (void)state;
        expect_error(TYPE, "", -EBADMSG);
        expect_error(TYPE, "no boundary at all", -EBADMSG);
        expect_error(TYPE, PART("p", "1"), -EBADMSG);
        expect_error(TYPE, PART("p", "1") "--XX-", -EBADMSG);
        expect_error(TYPE, PART("p", "1") "--XXnonsense\r\n\r\n", -EBADMSG);
        expect_error(TYPE, "--XX\r\n\r\nno headers\r\n" END, -EBADMSG);
        expect_error(TYPE, "--XX\r\nno colon\r\n\r\nx\r\n" END, -EBADMSG);
        expect_error(TYPE, FILE_PART("filename=\"no name\"", "x") END, -EBADMSG);
        expect_error(TYPE,
                     FILE_PART("filename=a\r\nContent-Disposition: form-data; name=f; filename=b",
                               "x") END,
                     -EBADMSG);
        expect_error(TYPE, "--XX\r\nContent-Disposition: attachment; name=p\r\n\r\nx\r\n" END,
                     -EBADMSG);
        expect_error(TYPE,
                     "--XX\r\nContent-Disposition: form-data; name=p\r\n"
                     "Content-Transfer-Encoding: base64\r\n\r\nx\r\n" END,
                     -EBADMSG);
        expect(TYPE,
               "--XX\r\nContent-Disposition: form-data; name=p\r\n"
               "Content-Transfer-Encoding: 8bit\r\n\r\nx\r\n" END,
               "F p=x;");
}

static void test_nul_bytes(void **state)
{
        static const char field[] = PART("p", "a\0b") END;
        static const char header[] = PART("p\0q", "1") END;

        (void)state;
        for (size_t piece = 1; piece < sizeof(field); piece++) {
                struct log l = { 0 };

                assert_int_equal(run(TYPE, field, sizeof(field) - 1, piece, &l), 0);
                assert_memory_equal(l.text.data, "F p=a\0b;", 9);
                buf_done(&l.text);
                assert_int_equal(run(TYPE, header, sizeof(header) - 1, piece, &l), -EBADMSG);
                buf_done(&l.text);
        }
}

/* @n times @text between @before and @after. */
static int run_many(const char *before, const char *text, size_t n, const char *after)
{
        struct buf b;
        struct log l = { 0 };
        int r;

        buf_init(&b, 0);
        (void)buf_append_str(&b, before);
        for (size_t i = 0; i < n; i++)
                (void)buf_append_str(&b, text);
        (void)buf_append_str(&b, after);
        r = run(TYPE, b.data, b.size, 4096, &l);
        buf_done(&l.text);
        buf_done(&b);
        return r;
}

#define FIELD_HEAD "--XX\r\nContent-Disposition: form-data; name=p\r\n\r\n"

static void test_limits(void **state)
{
        (void)state;
        assert_int_equal(run_many(FIELD_HEAD, "x", LIMIT_MULTIPART_FIELD, "\r\n" END), 0);
        assert_int_equal(run_many(FIELD_HEAD, "x", LIMIT_MULTIPART_FIELD + 1, "\r\n" END), -EFBIG);
        assert_int_equal(run_many("", PART("p", "1"), LIMIT_MULTIPART_FIELDS, END), 0);
        assert_int_equal(run_many("", PART("p", "1"), LIMIT_MULTIPART_FIELDS + 1, END), -EFBIG);
        assert_int_equal(
                run_many("", FILE_PART("name=f; filename=a", "1"), LIMIT_MULTIPART_FILES, END), 0);
        assert_int_equal(
                run_many("", FILE_PART("name=f; filename=a", "1"), LIMIT_MULTIPART_FILES + 1, END),
                -EFBIG);
        assert_int_equal(run_many("--XX\r\nX: ", "x", LIMIT_MULTIPART_HEADERS, "\r\n\r\n" END),
                         -EFBIG);
        assert_int_equal(run_many("--XX", " ", LIMIT_MULTIPART_HEADERS + 1, "\r\n"), -EFBIG);
}

static void test_an_event_that_fails_ends_it(void **state)
{
        static const char body[] = PART("p", "1") FILE_PART("name=f; filename=a", "xyz") END;

        (void)state;
        for (int at = 1; at <= 4; at++) {
                struct multipart *m = NULL;
                struct error err = ERROR_INIT;
                struct log l = { .fail_at = at };

                buf_init(&l.text, 0);
                assert_int_equal(multipart_new(TYPE, &ops, &l, &m, &err), 0);
                assert_int_equal(multipart_feed(m, body, sizeof(body) - 1, &err), -EDQUOT);
                assert_int_equal(l.n, at);
                assert_int_equal(multipart_feed(m, "x", 1, &err), -EBADMSG);
                assert_int_equal(multipart_end(m, &err), -EBADMSG);
                assert_int_equal(l.n, at);
                multipart_free(m);
                buf_done(&l.text);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_fields_and_files),
                cmocka_unit_test(test_content_that_looks_like_a_delimiter),
                cmocka_unit_test(test_empty_parts),
                cmocka_unit_test(test_what_is_around),
                cmocka_unit_test(test_boundaries),
                cmocka_unit_test(test_types_that_are_none),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_malformed),
                cmocka_unit_test(test_nul_bytes),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_an_event_that_fails_ends_it),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
