/* SPDX-License-Identifier: Apache-2.0 */

/* Ranges, conditions, dates and file names, by tables. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "agent/base/macros.h"
#include "agent/base/utf8.h"
#include "agent/http/header_value.h"
#include "agent/http/multipart_header.h"
#include "agent/http/range.h"

#define SIZE     1000
#define MODIFIED 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define THEN     "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE   "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER    "Sun, 06 Nov 1994 08:49:38 GMT"

static struct range_file a_file(void)
{
        return (struct range_file){
                .etag = "\"abc\"", .modified = MODIFIED, .size = SIZE, .now = MODIFIED + 1000
        };
}

static struct range_decision decide(const struct range_conditions *c, const struct range_file *f)
{
        struct range_decision d;

        range_decide(c, f, &d);
        return d;
}

/* clang-format off */
static const struct {
        const char *range;
        unsigned status;
        uint64_t offset, size;
} ranges[] = {
        { "bytes=0-9",              206, 0, 10 },
        { "bytes=0-0",              206, 0, 1 },
        { "bytes=10-",              206, 10, 990 },
        { "bytes=-1",               206, 999, 1 },
        { "bytes=-1000",            206, 0, 1000 },
        { "bytes=-99999",           206, 0, 1000 },
        { "bytes=999-",             206, 999, 1 },
        { "bytes=0-999",            206, 0, 1000 },
        { "bytes=0-1000",           206, 0, 1000 },
        { "bytes=990-18446744073709551615", 206, 990, 10 },
        { "bytes=990-99999999999999999999999", 206, 990, 10 },
        { "BYTES=0-9",              206, 0, 10 },
        { "bytes =0-9",             206, 0, 10 },
        { "bytes= 0-9 ",            206, 0, 10 },
        { "bytes=,0-9,",            206, 0, 10 },
        { "bytes=1000-",            416, 0, 0 },
        { "bytes=1000-1001",        416, 0, 0 },
        { "bytes=99999999999999999999999-", 416, 0, 0 },
        { "bytes=-0",               416, 0, 0 },
        /* several: the whole, as if there were no header */
        { "bytes=0-1,5-6",          200, 0, SIZE },
        { "bytes=0-1, -1",          200, 0, SIZE },
        /* not ranges */
        { "bytes=9-0",              200, 0, SIZE },
        { "bytes=",                 200, 0, SIZE },
        { "bytes=-",                200, 0, SIZE },
        { "bytes=--1",              200, 0, SIZE },
        { "bytes=a-b",              200, 0, SIZE },
        { "bytes=0",                200, 0, SIZE },
        { "bytes=0-9x",             200, 0, SIZE },
        { "bytes=0 - 9",            200, 0, SIZE },
        { "bytes=+0-9",             200, 0, SIZE },
        { "bytes 0-9",              200, 0, SIZE },
        { "items=0-9",              200, 0, SIZE },
        { "",                       200, 0, SIZE },
};

static const struct {
        struct range_conditions c;
        unsigned status;
} conditions[] = {
        { { 0 }, 200 },
        { { .if_none_match = (char *)"\"abc\"" }, 304 },
        { { .if_none_match = (char *)"W/\"abc\"" }, 304 },
        { { .if_none_match = (char *)"\"x\", \"abc\"" }, 304 },
        { { .if_none_match = (char *)"\"x,\",, \"abc\"" }, 304 },
        { { .if_none_match = (char *)" * " }, 304 },
        { { .if_none_match = (char *)"\"x\"" }, 200 },
        { { .if_none_match = (char *)"abc" }, 200 },
        { { .if_none_match = (char *)"\"abc" }, 200 },
        { { .if_none_match = (char *)"\"ABC\"" }, 200 },
        { { .if_none_match = (char *)"" }, 200 },
        { { .if_modified_since = (char *)THEN }, 304 },
        { { .if_modified_since = (char *)AFTER }, 304 },
        { { .if_modified_since = (char *)BEFORE }, 200 },
        { { .if_modified_since = (char *)"yesterday" }, 200 },
        /* a tag is better than a date */
        { { .if_none_match = (char *)"\"x\"", .if_modified_since = (char *)THEN }, 200 },
        { { .if_match = (char *)"\"abc\"" }, 200 },
        { { .if_match = (char *)"*" }, 200 },
        { { .if_match = (char *)"\"x\",\"abc\"" }, 200 },
        { { .if_match = (char *)"W/\"abc\"" }, 412 },
        { { .if_match = (char *)"\"x\"" }, 412 },
        { { .if_match = (char *)"" }, 412 },
        { { .if_unmodified_since = (char *)THEN }, 200 },
        { { .if_unmodified_since = (char *)AFTER }, 200 },
        { { .if_unmodified_since = (char *)BEFORE }, 412 },
        { { .if_unmodified_since = (char *)"yesterday" }, 200 },
        { { .if_match = (char *)"\"abc\"", .if_unmodified_since = (char *)BEFORE }, 200 },
        { { .if_match = (char *)"\"x\"", .if_none_match = (char *)"\"abc\"" }, 412 },
        /* and the range only if all that allows it */
        { { .range = (char *)"bytes=0-9", .if_none_match = (char *)"\"abc\"" }, 304 },
        { { .range = (char *)"bytes=0-9", .if_match = (char *)"\"x\"" }, 412 },
        { { .range = (char *)"bytes=0-9", .if_range = (char *)"\"abc\"" }, 206 },
        { { .range = (char *)"bytes=0-9", .if_range = (char *)" \"abc\" " }, 206 },
        { { .range = (char *)"bytes=0-9", .if_range = (char *)"W/\"abc\"" }, 200 },
        { { .range = (char *)"bytes=0-9", .if_range = (char *)"\"x\"" }, 200 },
        { { .range = (char *)"bytes=0-9", .if_range = (char *)"\"abc\", \"x\"" }, 200 },
        { { .range = (char *)"bytes=0-9", .if_range = (char *)THEN }, 206 },
        { { .range = (char *)"bytes=0-9", .if_range = (char *)AFTER }, 200 },
        { { .range = (char *)"bytes=0-9", .if_range = (char *)BEFORE }, 200 },
        { { .range = (char *)"bytes=0-9", .if_range = (char *)"" }, 200 },
        { { .range = (char *)"bytes=5000-", .if_range = (char *)"\"x\"" }, 200 },
};

static const struct {
        const char *text;
        int64_t seconds; /* −1: no date */
} dates[] = {
        { "Sun, 06 Nov 1994 08:49:37 GMT",  MODIFIED },
        { "Sunday, 06-Nov-94 08:49:37 GMT", MODIFIED },
        { "Sun Nov  6 08:49:37 1994",       MODIFIED },
        { "Thu, 01 Jan 1970 00:00:00 GMT",  0 },
        { "Thu, 29 Feb 2024 23:59:60 GMT",  1709251199 },
        { "Fri, 31 Dec 9999 23:59:59 GMT",  253402300799 },
        { "Thu, 30 Feb 2023 00:00:00 GMT",  -1 },
        { "Sun, 00 Nov 1994 08:49:37 GMT",  -1 },
        { "Sun, 06 Nov 1994 24:00:00 GMT",  -1 },
        { "Sun, 06 Nov 1994 08:60:37 GMT",  -1 },
        { "Sun, 6 Nov 1994 08:49:37 GMT",   -1 },
        { "Sun, 06 Nov 1994 08:49:37",      -1 },
        { "Sun, 06 Nov 1994 08:49:37 CET",  -1 },
        { "Sun, 06 Nov 1994 08:49:37 GMT ", -1 },
        { "Sun, 06 nov 1994 08:49:37 GMT",  -1 },
        { "1994-11-06T08:49:37Z",           -1 },
        { "Sun",                            -1 },
        { "",                               -1 },
};

static const struct {
        const char *name;
        const char *value;
} names[] = {
        { "a.txt",       "attachment; filename=\"a.txt\"" },
        { "a b;c.txt",   "attachment; filename=\"a b;c.txt\"" },
        { "a\"b\\c",     "attachment; filename=\"a_b_c\"; filename*=UTF-8''a%22b%5Cc" },
        { "100%.txt",    "attachment; filename=\"100_.txt\"; filename*=UTF-8''100%25.txt" },
        { "a\r\nX: y",   "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y" },
        { "na\xc3\xafve", "attachment; filename=\"na_ve\"; filename*=UTF-8''na%C3%AFve" },
        { "\xf0\x9f\x98\x80", "attachment; filename=\"_\"; filename*=UTF-8''%F0%9F%98%80" },
        { "\xff""a",     "attachment; filename=\"_a\"; filename*=UTF-8''%EF%BF%BDa" },
        { "\xc3",        "attachment; filename=\"_\"; filename*=UTF-8''%EF%BF%BD" },
        { "",            "attachment; filename=\"\"" },
};
/* clang-format on */

static void test_a_range(void **state)
{
        struct range_file f = a_file();

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
                struct range_conditions c = { .is_get = true, .range = (char *)ranges[i].range };
                struct range_decision d = decide(&c, &f);

                if (d.status != ranges[i].status || d.offset != ranges[i].offset ||
                    d.size != ranges[i].size)
                        fail_msg("%s: %u %llu %llu", ranges[i].range, d.status,
                                 (unsigned long long)d.offset, (unsigned long long)d.size);
                c.is_get = false;
                assert_int_equal(decide(&c, &f).status, 200);
        }
}

static void test_an_empty_file_has_no_parts(void **state)
{
        struct range_file f = a_file();
        struct range_conditions c = { .is_get = true, .range = (char *)"bytes=0-" };

        (void)state;
        f.size = 0;
        assert_int_equal(decide(&c, &f).status, 416);
        c.range = (char *)"bytes=-5";
        assert_int_equal(decide(&c, &f).status, 200);
        assert_int_equal(decide(&c, &f).size, 0);
}

static void test_conditions(void **state)
{
        struct range_file f = a_file();

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
                struct range_conditions c = conditions[i].c;
                unsigned status;

                c.is_get = true;
                status = decide(&c, &f).status;
                if (status != conditions[i].status)
                        fail_msg("row %zu: %u, not %u", i, status, conditions[i].status);
        }
}

/* A date says little about a file that was changed a moment ago, and nothing about one without a date. */
static void test_a_date_may_be_no_proof(void **state)
{
        struct range_file f = a_file();
        struct range_conditions c = { .is_get = true,
                                      .range = (char *)"bytes=0-9",
                                      .if_range = (char *)THEN };

        (void)state;
        f.now = MODIFIED + 1;
        assert_int_equal(decide(&c, &f).status, 200);
        f.now = MODIFIED + 2;
        assert_int_equal(decide(&c, &f).status, 206);
        f.modified = INT64_MIN;
        assert_int_equal(decide(&c, &f).status, 200);
        c = (struct range_conditions){ .is_get = true, .if_modified_since = (char *)AFTER };
        assert_int_equal(decide(&c, &f).status, 200);
        f.etag = NULL;
        c = (struct range_conditions){ .is_get = true, .if_match = (char *)"\"abc\"" };
        assert_int_equal(decide(&c, &f).status, 412);
}

static void test_content_range(void **state)
{
        struct range_decision d = { .status = 206, .offset = 10, .size = 5 };
        char buf[RANGE_CONTENT_SIZE];

        (void)state;
        assert_string_equal(range_content(&d, 100, buf), "bytes 10-14/100");
        d = (struct range_decision){ .status = 416 };
        assert_string_equal(range_content(&d, 100, buf), "bytes */100");
        d = (struct range_decision){ 206, UINT64_MAX / 2, UINT64_MAX / 2 };
        assert_true(strlen(range_content(&d, UINT64_MAX, buf)) < RANGE_CONTENT_SIZE - 1);
}

static void test_the_tag_changes_with_the_file(void **state)
{
        struct stat st = { .st_ino = 5, .st_size = 100 };
        char first[RANGE_ETAG_SIZE], second[RANGE_ETAG_SIZE];

        (void)state;
        st.st_mtim.tv_sec = st.st_ctim.tv_sec = 1000;
        (void)range_etag(&st, 2000, first);
        assert_string_equal(range_etag(&st, 3000, second), first);
        assert_int_equal(first[0], '"');
        assert_true(strncmp(range_etag(&st, 1001, second), "W/\"", 3) == 0);
        assert_string_equal(second + 2, first);
        st.st_ctim.tv_nsec = 1;
        assert_string_not_equal(range_etag(&st, 3000, second), first);
        st.st_ctim.tv_nsec = 0;
        st.st_size++;
        assert_string_not_equal(range_etag(&st, 3000, second), first);
}

static void test_dates(void **state)
{
        char buf[HTTP_DATE_SIZE];
        int64_t t;

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(dates); i++) {
                int r = http_date_parse(dates[i].text, &t);

                if (dates[i].seconds < 0 ? r != -EINVAL : r != 0 || t != dates[i].seconds)
                        fail_msg("%s: %d", dates[i].text, r);
        }
        assert_string_equal(http_date_print(MODIFIED, buf), THEN);
        assert_string_equal(http_date_print(0, buf), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_string_equal(http_date_print(INT64_MAX, buf), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_string_equal(http_date_print(INT64_MIN, buf), "Sat, 01 Jan 0000 00:00:00 GMT");
        for (int64_t s = -5000000000; s < 20000000000; s += 86399999) {
                assert_int_equal(http_date_parse(http_date_print(s, buf), &t), 0);
                assert_int_equal(t, s);
        }
}

static void test_names(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                char *value = http_content_disposition("attachment", names[i].name);

                assert_string_equal(value, names[i].value);
                free(value);
        }
}

/* What is printed for a name is read as that name. */
static void test_every_byte_in_a_name(void **state)
{
        (void)state;
        for (int c = 1; c < 128; c++) {
                char name[] = { 'a', (char)c, 'b', '\0' }, header[200];
                struct part_header h;
                struct error err = ERROR_INIT;
                char *value = http_content_disposition("form-data; name=\"n\"", name);

                for (const char *p = value; *p; p++)
                        assert_true(*p >= ' ' && *p < 0x7f);
                snprintf(header, sizeof(header), "Content-Disposition: %s", value);
                assert_int_equal(part_header_parse(header, strlen(header), &h, &err), 0);
                assert_string_equal(h.filename, name);
                part_header_done(&h);
                free(value);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_range),
                cmocka_unit_test(test_an_empty_file_has_no_parts),
                cmocka_unit_test(test_conditions),
                cmocka_unit_test(test_a_date_may_be_no_proof),
                cmocka_unit_test(test_content_range),
                cmocka_unit_test(test_the_tag_changes_with_the_file),
                cmocka_unit_test(test_dates),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_every_byte_in_a_name),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
