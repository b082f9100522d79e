/* SPDX-License-Identifier: Apache-2.0 */

/* What a receiver of callbacks gets to see of what a job displayed. */

#include "tests/unit/callback_fixture.h"

static void write_rich(const struct fixture *f, const char *text)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/" KEEPER_RICH, f->dir);
        CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static void test_displayed(void **state)
{
        struct fixture *f = *state;
        json_auto_t *json = NULL;

        write_logs(f, "out", "err");
        write_rich(f, "{\"type\":\"image/png\",\"format\":\"base64\",\"data\":\"cG5n\"}\n"
                      "garbage\n{\"result\":\"42\"}\n{\"dropped\":3}\n");
        json = make(f, CALLBACK_MAX_TEXT, NULL);
        assert_string_equal(text_of(json, "stdout"), "out");
        assert_string_equal(text_of(json, "png"), "cG5n");
        assert_string_equal(text_of(json, "result"), "42");
        assert_int_equal(json_array_size(json_object_get(json, "rich_outputs")), 1);
        assert_true(bool_of(json, "rich_truncated"));
        assert_int_equal(integer_of(json, "rich_dropped"), 3);
}

/* It takes its part of the room, and has a limit of its own. */
static void expect_displayed(struct fixture *f, size_t size, size_t max_text, size_t n_outputs,
                             const char *out)
{
        char *data = xcalloc(1, size + 1), *text;
        json_auto_t *json = NULL;

        memset(data, 'x', size);
        text = xasprintf("{\"type\":\"a/b\",\"format\":\"text\",\"data\":\"%s\"}\n", data);
        write_rich(f, text);
        free(text);
        free(data);
        json = make(f, max_text, NULL);
        assert_string_equal(text_of(json, "stdout"), out);
        assert_int_equal(json_array_size(json_object_get(json, "rich_outputs")), n_outputs);
        assert_int_equal(json_is_true(json_object_get(json, "rich_truncated")), n_outputs == 0);
}

static void test_displayed_is_large(void **state)
{
        struct fixture *f = *state;

        write_logs(f, "out", "err");
        expect_displayed(f, 3 * MIB, CALLBACK_MAX_TEXT, 1, "out");
        expect_displayed(f, 3 * MIB, 3 * MIB, 1, "");
        expect_displayed(f, LIMIT_JOB_CALLBACK_RICH, CALLBACK_MAX_TEXT, 0, "out");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_displayed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_displayed_is_large, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
