/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/auth_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "agent/base/limits.h"

static void add(struct auth_cache *c, const char *token, int64_t expires_s)
{
        const struct token_facts facts = { .principal.expires_s = expires_s };

        auth_cache_add(c, token, &facts);
}

static int64_t find(struct auth_cache *c, const char *token)
{
        const struct token_facts *facts = auth_cache_find(c, token);

        return facts ? facts->principal.expires_s : -1;
}

static void test_add_find_remove(void **state)
{
        struct auth_cache *c = auth_cache_new();

        (void)state;
        assert_int_equal(find(c, "a"), -1);
        add(c, "a", 1);
        add(c, "aa", 2);
        assert_int_equal(find(c, "a"), 1);
        assert_int_equal(find(c, "aa"), 2);
        assert_int_equal(find(c, "aaa"), -1);

        add(c, "a", 3); /* replaces */
        assert_int_equal(find(c, "a"), 3);
        assert_int_equal(auth_cache_count(c), 2);

        auth_cache_remove(c, "a");
        auth_cache_remove(c, "a");
        assert_int_equal(find(c, "a"), -1);
        assert_int_equal(find(c, "aa"), 2);

        auth_cache_clear(c);
        assert_int_equal(auth_cache_count(c), 0);
        assert_int_equal(find(c, "aa"), -1);
        auth_cache_free(c);
}

static void test_is_bounded(void **state)
{
        struct auth_cache *c = auth_cache_new();
        char token[32];

        (void)state;
        add(c, "favourite", 1);
        for (int i = 0; i < 8 * LIMIT_TOKEN_CACHE; i++) {
                snprintf(token, sizeof(token), "token-%d", i);
                add(c, token, i);
                assert_int_equal(find(c, token), i);
                assert_int_equal(find(c, "favourite"), 1); /* in use: never displaced */
        }
        assert_true(auth_cache_count(c) <= LIMIT_TOKEN_CACHE);
        assert_true(auth_cache_count(c) > LIMIT_TOKEN_CACHE * 9 / 10);
        assert_int_equal(find(c, "token-0"), -1);
        auth_cache_free(c);
}

/* Removing from the middle of a full set must not hide what stands behind. */
static void test_remove_in_full_sets(void **state)
{
        struct auth_cache *c = auth_cache_new();
        char token[32];
        unsigned n;

        (void)state;
        for (int i = 0; i < 8 * LIMIT_TOKEN_CACHE; i++) {
                snprintf(token, sizeof(token), "token-%d", i);
                add(c, token, i);
        }
        n = auth_cache_count(c);
        for (int i = 0; i < 8 * LIMIT_TOKEN_CACHE; i += 2) {
                snprintf(token, sizeof(token), "token-%d", i);
                n -= find(c, token) == i;
                auth_cache_remove(c, token);
                assert_int_equal(find(c, token), -1);
        }
        assert_int_equal(auth_cache_count(c), n);
        for (int i = 1; i < 8 * LIMIT_TOKEN_CACHE; i += 2) {
                snprintf(token, sizeof(token), "token-%d", i);
                n -= find(c, token) == i;
        }
        assert_int_equal(n, 0); /* every entry that is left can still be found */
        auth_cache_free(c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_add_find_remove),
                cmocka_unit_test(test_is_bounded),
                cmocka_unit_test(test_remove_in_full_sets),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
