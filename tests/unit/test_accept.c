/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/base/macros.h"
#include "agent/http/accept.h"

static void test_cases(void **state)
{
        static const struct {
                const char *accept;
                bool is_preferred;
        } cases[] = {
                { NULL, false },
                { "", false },
                { "*/*", false },
                { "text/html", true },
                { "TEXT/HTML", true },
                { "text/*", true },
                { "text/html;q=0", false },
                { "application/json", false },
                { "text/html, application/json", false },
                { "text/html;q=0.9, application/json;q=0.8", true },
                { "text/html;q=0.8, application/json;q=0.9", false },
                { "text/html;level=1;q=0.5, */*;q=0.4", true },
                { "text/*;q=0.3, text/html;q=0.7, */*;q=0.5", true },
                { "text/htmlx", false },
                { "text/html+xml", false },
                { "textx/*", false },
                { "text/html;q=2", false },
                { ",,;;,text/html", true },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++)
                if (accept_prefers(cases[i].accept, "text/html", "application/json") !=
                    cases[i].is_preferred)
                        fail_msg("%s", cases[i].accept);
}

static void test_two_of_one_kind(void **state)
{
        static const char first[] = "text/event-stream", second[] = "text/plain";

        (void)state;
        assert_false(accept_prefers("text/*", first, second));
        assert_true(accept_prefers("text/*;q=0.5, text/event-stream", first, second));
        assert_false(accept_prefers("text/*;q=0.5, text/event-stream", second, first));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cases),
                cmocka_unit_test(test_two_of_one_kind),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
