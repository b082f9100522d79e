/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <nettle/base64.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/json/document.h"
#include "tests/lib/repair_utf8.h"

/* Reads all of @d, @size bytes at a time, into a new string. */
static char *read_document(struct document *d, size_t size)
{
        struct buf b;
        size_t n;

        buf_init(&b, 0);
        assert_int_equal(buf_reserve(&b, 0), 0);
        do {
                char *slice = malloc(size); /* of exactly that size, for the sanitizer */

                n = document_read(d, slice, size);
                assert_true(n <= size);
                assert_int_equal(buf_append(&b, slice, n), 0);
                free(slice);
        } while (n > 0);
        assert_int_equal(document_read(d, (char[16]){ 0 }, 16), 0); /* the end stays the end */
        return buf_steal(&b, NULL);
}

static void test_empty(void **state)
{
        struct document *d = document_new(json_object());
        CLEANUP(mem_free) char *text = read_document(d, 16);

        (void)state;
        assert_string_equal(text, "{}");
        assert_null(document_free(d));
        assert_null(document_free(NULL));
}

static void test_fields_alone(void **state)
{
        struct document *d = document_new(
                json_pack("{s:b, s:f, s:s}", "success", 1, "time", 0.1, "text", "a\"b"));
        CLEANUP(mem_free) char *text = read_document(d, 16);

        (void)state;
        assert_string_equal(text, "{\"success\":true,\"time\":0.1,\"text\":\"a\\\"b\"}");
        document_free(d);
}

static void test_fields_that_are_text(void **state)
{
        static const char *const objects[] = { "{}", "{\"a\":[1,{}]}" };
        static const char *const expected[] = { "{\"b\":\"x\"}", "{\"a\":[1,{}],\"b\":\"x\"}" };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
                struct document *d = document_new_text(xstrdup(objects[i]), strlen(objects[i]));
                CLEANUP(mem_free) char *text = NULL;

                document_add_text(d, "b", DOCUMENT_UTF8, &(struct document_piece){ "x", 1 }, 1,
                                  NULL, NULL);
                text = read_document(d, 16);
                assert_string_equal(text, expected[i]);
                document_free(d);
        }
}

/* Passed on as it is, however many pieces and however large. */
static void test_json(void **state)
{
        struct document_piece pieces[41];
        size_t n = 0;

        (void)state;
        pieces[n++] = (struct document_piece){ "[", 1 };
        while (n < ARRAY_LEN(pieces) - 2) {
                pieces[n++] = (struct document_piece){ "{\"\\u00e9\\n\":1.50}", 17 };
                pieces[n++] = (struct document_piece){ ",", 1 };
        }
        pieces[n - 1] = (struct document_piece){ NULL, 0 };
        pieces[n++] = (struct document_piece){ "]", 1 };

        for (size_t size = 16; size < 64; size++) {
                struct document *d = document_new(json_object());
                CLEANUP(mem_free) char *text = NULL;
                json_t *json;

                document_add_json(d, "list", pieces, n, NULL, NULL);
                document_add_text(d, "text", DOCUMENT_UTF8, &(struct document_piece){ "\n", 1 }, 1,
                                  NULL, NULL);
                document_add_json(d, "one", &(struct document_piece){ "null", 4 }, 1, NULL, NULL);
                text = read_document(d, size);
                json = json_loads(text, 0, NULL);
                assert_int_equal(json_array_size(json_object_get(json, "list")), 19);
                assert_non_null(strstr(text, "{\"list\":[{\"\\u00e9\\n\":1.50},{"));
                assert_non_null(strstr(text, "],\"text\":\"\\n\",\"one\":null}"));
                json_decref(json);
                document_free(d);
        }
}

static void test_layout(void **state)
{
        const struct document_piece out[] = { { "one", 3 }, { NULL, 0 }, { " two", 4 } };
        const struct document_piece err[] = { { "E\n", 2 } };

        (void)state;
        for (int with_fields = 0; with_fields < 2; with_fields++) {
                struct document *d = document_new(with_fields ? json_pack("{s:i}", "a", 1)
                                                              : json_object());
                CLEANUP(mem_free) char *text = NULL;

                document_add_text(d, "stdout", DOCUMENT_UTF8, out, 3, NULL, NULL);
                document_add_text(d, "stderr", DOCUMENT_UTF8, err, 1, NULL, NULL);
                document_add_text(d, "none", DOCUMENT_UTF8, NULL, 0, NULL, NULL);
                document_add_text(d, "raw", DOCUMENT_BASE64, out, 3, NULL, NULL);
                assert_int_equal(document_text_size(d), 7 + 2 + 7);
                text = read_document(d, 4096);
                if (with_fields)
                        assert_string_equal(text,
                                            "{\"a\":1,\"stdout\":\"one two\",\"stderr\":"
                                            "\"E\\n\",\"none\":\"\",\"raw\":\"b25lIHR3bw==\"}");
                else
                        assert_string_equal(text, "{\"stdout\":\"one two\",\"stderr\":\"E\\n\","
                                                  "\"none\":\"\",\"raw\":\"b25lIHR3bw==\"}");
                document_free(d);
        }
}

static void on_release(void *arg)
{
        ++*(unsigned *)arg;
}

/* Members that are JSON already come out as they went in, wherever the reader's buffer ends. */
static void test_members(void **state)
{
        static const char members[] = "\"a\":{\"b\":\"\\u00e9\\n\"},\"c\":[1,2]";
        const struct document_piece text = { "x", 1 };

        (void)state;
        for (size_t size = 16; size < 48; size++) {
                struct document *d = document_new(json_object());
                CLEANUP(mem_free) char *all = NULL;

                document_add_members(d, members, strlen(members), NULL, NULL);
                document_add_text(d, "t", DOCUMENT_UTF8, &text, 1, NULL, NULL);
                document_add_members(d, "\"z\":1", 5, NULL, NULL);
                assert_int_equal(document_text_size(d), strlen(members) + 1 + 5);
                all = read_document(d, size);
                assert_string_equal(
                        all, "{\"a\":{\"b\":\"\\u00e9\\n\"},\"c\":[1,2],\"t\":\"x\",\"z\":1}");
                document_free(d);
        }
}

/* Each text is released once, by document_free, whether it was read or not. */
static void test_release(void **state)
{
        const struct document_piece piece = { "x", 1 };

        (void)state;
        for (int is_read = 0; is_read < 3; is_read++) {
                struct document *d = document_new(json_object());
                unsigned n_released = 0;
                char slice[16];

                document_add_text(d, "a", DOCUMENT_UTF8, &piece, 1, on_release, &n_released);
                document_add_text(d, "b", DOCUMENT_UTF8, &piece, 1, on_release, &n_released);
                if (is_read == 1)
                        assert_true(document_read(d, slice, sizeof(slice)) > 0);
                if (is_read == 2)
                        mem_free(read_document(d, 16));
                assert_int_equal(n_released, 0);
                document_free(d);
                assert_int_equal(n_released, 2);
        }
}

static void test_escapes(void **state)
{
        const struct document_piece piece = { "\0\x01\b\t\n\v\f\r\x1f \"\\/\x7f", 14 };
        struct document *d = document_new(json_object());
        CLEANUP(mem_free) char *text = NULL;

        (void)state;
        document_add_text(d, "t", DOCUMENT_UTF8, &piece, 1, NULL, NULL);
        text = read_document(d, 16);
        assert_string_equal(text, "{\"t\":\"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f "
                                  "\\\"\\\\/\x7f\"}");
        document_free(d);
}

/* What a reader gets must parse, and be @data repaired, or @data itself from base64. */
static void check(const struct document_piece *pieces, unsigned n_pieces, const char *data,
                  size_t size, size_t read_size)
{
        CLEANUP(mem_free) char *expected = malloc(3 * size + 1);
        size_t expected_size = repair_utf8(expected, data, size);
        struct document *d = document_new(json_object());
        CLEANUP(mem_free) char *text = NULL;
        char *encoded = malloc(BASE64_ENCODE_RAW_LENGTH(size) + 1);
        json_t *json;

        document_add_text(d, "text", DOCUMENT_UTF8, pieces, n_pieces, NULL, NULL);
        document_add_text(d, "raw", DOCUMENT_BASE64, pieces, n_pieces, NULL, NULL);
        text = read_document(d, read_size);
        json = json_loads(text, JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        assert_int_equal(json_string_length(json_object_get(json, "text")), expected_size);
        assert_memory_equal(json_string_value(json_object_get(json, "text")), expected,
                            expected_size);

        base64_encode_raw(encoded, size, (const uint8_t *)data);
        encoded[BASE64_ENCODE_RAW_LENGTH(size)] = '\0';
        assert_string_equal(json_string_value(json_object_get(json, "raw")), encoded);

        free(encoded);
        json_decref(json);
        document_free(d);
}

/* Text in which everything happens, cut in two at every byte, and read in every small size. */
static void test_every_cut(void **state)
{
        static const char data[] = "plain ascii, long enough for the fast path\n"
                                   "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x98\x80 \"q\" \\ \x1b[0m\0\r"
                                   "\xc3(\xe2\x82(\xf0\x9f\x98(\xed\xa0\x80\xff\xc0\xaf"
                                   "more plain ascii\t\xf0\x9f\x98";
        size_t size = sizeof(data) - 1;

        (void)state;
        for (size_t cut = 0; cut <= size; cut++) {
                for (size_t gap = 0; gap <= 2 && cut + gap <= size; gap++) {
                        struct document_piece pieces[] = {
                                { data, cut },
                                { data + cut, gap },
                                { data + cut + gap, size - cut - gap },
                        };

                        check(pieces, 3, data, size, 16 + cut % 32);
                }
        }
}

/* Every single byte, at every position of the eight that are looked at together. */
static void test_every_byte_everywhere(void **state)
{
        (void)state;
        for (unsigned byte = 0; byte < 256; byte++) {
                for (size_t at = 0; at < 16; at++) {
                        char data[24];
                        struct document_piece piece = { data, sizeof(data) };

                        memset(data, 'x', sizeof(data));
                        data[at] = (char)byte;
                        data[at + 3] = (char)(byte ^ 1);
                        check(&piece, 1, data, sizeof(data), 64);
                }
        }
}

/* Output is produced in slices: a read is never asked for, or gives, more than its size, and one of
 * 64 KiB makes good progress. */
static void test_large(void **state)
{
        size_t size = 10 * MIB, total = 0, n;
        char *data = malloc(size), *slice = malloc(64 * KIB);
        struct document_piece piece = { data, size };
        struct document *d = document_new(json_object());
        unsigned n_reads = 0;

        (void)state;
        for (size_t i = 0; i < size; i++)
                data[i] = i % 80 == 79 ? '\n' : (char)('a' + i % 26);
        document_add_text(d, "t", DOCUMENT_UTF8, &piece, 1, NULL, NULL);
        while ((n = document_read(d, slice, 64 * KIB)) > 0) {
                total += n;
                n_reads++;
        }
        assert_int_equal(total, strlen("{\"t\":\"\"}") + size + size / 80);
        assert_in_range(n_reads, 160, 170);

        document_free(d);
        free(data);
        free(slice);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_empty),
                cmocka_unit_test(test_fields_alone),
                cmocka_unit_test(test_fields_that_are_text),
                cmocka_unit_test(test_json),
                cmocka_unit_test(test_layout),
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_release),
                cmocka_unit_test(test_escapes),
                cmocka_unit_test(test_every_cut),
                cmocka_unit_test(test_every_byte_everywhere),
                cmocka_unit_test(test_large),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
