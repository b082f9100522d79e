/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/macros.h"
#include "agent/base/utf8.h"

#define FFFD 0xfffd

struct row {
        const char *bytes;
        uint32_t codepoints[8]; /* after repair, 0 at the end */
};

static const struct row rows[] = {
        { "", { 0 } },
        { "a", { 'a' } },
        { "\x7f", { 0x7f } },
        { "\xc2\x80", { 0x80 } },
        { "\xdf\xbf", { 0x7ff } },
        { "\xe0\xa0\x80", { 0x800 } },
        { "\xed\x9f\xbf", { 0xd7ff } },
        { "\xee\x80\x80", { 0xe000 } },
        { "\xef\xbf\xbf", { 0xffff } },
        { "\xf0\x90\x80\x80", { 0x10000 } },
        { "\xf4\x8f\xbf\xbf", { 0x10ffff } },
        /* Ill-formed: the examples of the Unicode standard, table 3-8 and around. */
        { "\x80", { FFFD } },
        { "\xc0\xaf", { FFFD, FFFD } },           /* overlong */
        { "\xe0\x80\xaf", { FFFD, FFFD, FFFD } }, /* overlong */
        { "\xf0\x80\x80\xaf", { FFFD, FFFD, FFFD, FFFD } },
        { "\xed\xa0\x80", { FFFD, FFFD, FFFD } },           /* surrogate */
        { "\xf4\x90\x80\x80", { FFFD, FFFD, FFFD, FFFD } }, /* over U+10FFFF */
        { "\xf5\x80", { FFFD, FFFD } },
        { "\xff\xfe", { FFFD, FFFD } },
        { "\xe1\x80", { FFFD } }, /* cut off: one for the whole prefix */
        { "\xf0\x91\x92", { FFFD } },
        { "\xf1\xbf\x41", { FFFD, 'A' } },
        { "\xe1\x80\xe2\xf0\x91\x92\xf1\xbf", { FFFD, FFFD, FFFD, FFFD } },
        { "a\xc3"
          "b",
          { 'a', FFFD, 'b' } },
        { "\xc3\xc3\xa9", { FFFD, 0xe9 } },
};

static void test_decoder(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                size_t size = strlen(rows[i].bytes);
                uint32_t got[16] = { 0 };
                struct utf8_decoder d;
                bool is_valid = true;
                size_t n = 0;

                utf8_decoder_init(&d);
                for (size_t k = 0; k < size;) {
                        switch (utf8_decode_byte(&d, (uint8_t)rows[i].bytes[k])) {
                        case UTF8_MORE:
                                k++;
                                break;
                        case UTF8_CHAR:
                                got[n++] = d.codepoint;
                                k++;
                                break;
                        case UTF8_BAD:
                                is_valid = false;
                                got[n++] = FFFD;
                                k++;
                                break;
                        case UTF8_BROKEN:
                                is_valid = false;
                                got[n++] = FFFD;
                                break;
                        }
                }
                if (utf8_decoder_is_pending(&d)) {
                        is_valid = false;
                        got[n++] = FFFD;
                }

                if (memcmp(got, rows[i].codepoints, sizeof(rows[i].codepoints)) != 0)
                        fail_msg("row %zu gave %x %x %x %x", i, got[0], got[1], got[2], got[3]);
                assert_int_equal(utf8_is_valid(rows[i].bytes, size), is_valid);
        }
}

/* The fast path must not jump over the start of anything. */
static void test_valid_at_every_offset(void **state)
{
        char text[40];

        (void)state;
        for (size_t i = 0; i + 3 <= sizeof(text); i++) {
                memset(text, 'x', sizeof(text));
                memcpy(text + i, "\xe2\x82\xac", 3);
                assert_true(utf8_is_valid(text, sizeof(text)));
                text[i + 2] = 'x';
                assert_false(utf8_is_valid(text, sizeof(text)));
                assert_false(utf8_is_valid(text, i + 2));
                assert_true(utf8_is_valid(text, i));
        }
}

/* Nor past the middle of a sequence. */
static void test_valid_interrupted(void **state)
{
        (void)state;
        assert_false(utf8_is_valid("\xe2xxxxxxxx\x82\xac", 11));
        assert_false(utf8_is_valid("\xf0\x9f\x98xxxxxxxx\x80", 12));
}

static void test_complete_prefix(void **state)
{
        static const struct {
                const char *bytes;
                size_t size;
        } cuts[] = {
                { "", 0 },
                { "abc", 3 },
                { "ab\xc3", 2 },
                { "ab\xc3\xa9", 4 },
                { "a\xe2", 1 },
                { "a\xe2\x82", 1 },
                { "a\xe2\x82\xac", 4 },
                { "\xf0\x9f\x98", 0 },
                { "\xf0\x9f\x98\x80", 4 },
                { "a\xff", 2 }, /* an error, but not an incomplete one */
                { "a\x80\x80\x80\x80", 5 },
                { "a\xe0\x80", 3 }, /* can never be completed */
                { "a\xed\xa0", 3 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
                size_t size = utf8_complete_prefix(cuts[i].bytes, strlen(cuts[i].bytes));

                if (size != cuts[i].size)
                        fail_msg("row %zu gave %zu", i, size);
        }
}

static void test_repair(void **state)
{
        static const struct {
                const char *bytes;
                const char *repaired;
        } repairs[] = {
                { "", "" },
                { "abc", "abc" },
                { "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
                  "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
                { "a\xc3", "a" }, /* the end */
                { "a\xf0\x9f\x98", "a" },
                { "a\xc3 (cut)", "a? (cut)" },
                { "\xc3\xa9\xc3: \xc3\xa9", "\xc3\xa9?: \xc3\xa9" },
                { "\xf0\x9f\x98x", "?x" },
                { "\xf0\x9f\x98\xc3\xa9", "?\xc3\xa9" },
                { "\xff\xfe", "??" },
                { "\x80\xc3\xa9\x80", "?\xc3\xa9?" },
                { "\xed\xa0\x80x", "???x" }, /* a surrogate */
                { "\xc3\xc3\xc3\xa9", "??\xc3\xa9" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(repairs); i++) {
                char text[32];

                memset(text, 'z', sizeof(text));
                memcpy(text, repairs[i].bytes, strlen(repairs[i].bytes) + 1);
                utf8_repair(text);
                assert_string_equal(text, repairs[i].repaired);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_decoder),
                cmocka_unit_test(test_valid_at_every_offset),
                cmocka_unit_test(test_valid_interrupted),
                cmocka_unit_test(test_complete_prefix),
                cmocka_unit_test(test_repair),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
