/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/id.h"

static void test_form(void **state)
{
        char id[ID_SIZE];

        (void)state;
        assert_ptr_equal(id_new(id, "req_"), id);
        assert_int_equal(strlen(id), 28);
        assert_memory_equal(id, "req_", 4);
        assert_int_equal(strspn(id + 4, "0123456789abcdef"), 24);

        assert_int_equal(strlen(id_new(id, "12345678")), 32);
        assert_int_equal(strlen(id_new(id, "")), 24);
}

static void test_differ(void **state)
{
        char ids[64][ID_SIZE];

        (void)state;
        for (size_t i = 0; i < 64; i++) {
                id_new(ids[i], "x");
                for (size_t k = 0; k < i; k++)
                        assert_string_not_equal(ids[i], ids[k]);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_form),
                cmocka_unit_test(test_differ),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
