/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/config_table.h"
#include "tests/unit/config_fixture.h"

static char *printed(void (*print)(FILE *out))
{
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);

        assert_non_null(out);
        print(out);
        assert_int_equal(fclose(out), 0);
        return text;
}

static void test_help_fits(void **state)
{
        char *text = printed(config_print_help);

        (void)state;
        for (const char *line = text; *line;) {
                size_t size = strcspn(line, "\n");

                assert_true(size <= 100);
                assert_true(size == 0 || line[size - 1] != ' ');
                line += size + (line[size] == '\n');
        }
        option_for_each(o)
        {
                char expected[64];

                snprintf(expected, sizeof(expected),
                         o->type == OPTION_BOOL ? "\n  --[no-]%s " : "\n  --%s ", o->name);
                assert_non_null(strstr(text, expected));
        }
        free(text);
}

static void test_reference(void **state)
{
        char *text = printed(config_print_reference);

        (void)state;
        assert_non_null(strstr(text, "\n| `--max-body` | `16M` | yes | Largest request body. |\n"));
        assert_non_null(strstr(text, "\n| `--vm-id` | the host name | yes | "));
        assert_non_null(strstr(text, "\n| `--listen` | `0.0.0.0:7777` | no | "));
        free(text);
}

/* "#option = value" becomes an option; comments proper have a space behind the '#'. */
static void uncomment(char *text)
{
        for (char *p = text; p; p = strchr(p, '\n')) {
                p += *p == '\n';
                if (p[0] == '#' && p[1] != ' ')
                        p[0] = ' ';
        }
}

/* Installed as it is, the example changes nothing; with every default uncommented it still parses. */
static void test_example(void **state)
{
        struct fixture *f = *state;
        char *text = printed(config_print_example);
        struct config *plain = load_ok(f, NO_ARGS, NO_ARGS);
        struct config *c;

        write_text(f->file, text);
        c = load_ok(f, NO_ARGS, NO_ARGS);
        option_for_each(o)
        {
                if (o->offset != offsetof(struct config, config_file))
                        assert_true(option_equal(o, c, plain));
        }
        config_free(c);

        uncomment(text);
        write_text(f->file, text);
        c = load_ok(f, NO_ARGS, NO_ARGS);
        option_for_each(o)
        {
                if (o->def)
                        assert_true(option_equal(o, c, plain));
        }
        assert_string_equal(c->jwt_secret_file, "/FILE");
        config_free(c);
        config_free(plain);
        free(text);
}

static void test_man(void **state)
{
        char *text = printed(config_print_man);

        (void)state;
        assert_non_null(strstr(
                text,
                "\n.TP\n\\fBmax\\-body\\fR = \\fISIZE\\fR\nLargest request body. Default: 16M.\n"));
        assert_non_null(strstr(text, "\n.SS Access\n"));
        assert_null(strstr(text, "\\fBconfig\\fR"));
        free(text);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_help_fits),
                cmocka_unit_test(test_reference),
                cmocka_unit_test(test_man),
                cmocka_unit_test_setup_teardown(test_example, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
