/* SPDX-License-Identifier: Apache-2.0 */

#include "tests/unit/files_fixture.h"

#define TEXT(s) ((char[]){ s })

static struct roots *make(const char *workspace, char *const *allowed)
{
        struct roots_config c = { .workspace = workspace, .allowed = allowed };
        struct error err = ERROR_INIT;
        struct roots *r = NULL;

        assert_int_equal(roots_new(&c, &r, &err), 0);
        return r;
}

static void test_allow(void **state)
{
        char *allowed[] = { TEXT("/usr//./lib/../share/"), TEXT("/absent/below/it"), NULL };
        struct roots *r = make("/tmp", allowed);

        (void)state;
        assert_true(roots_allow(r, "/tmp"));
        assert_true(roots_allow(r, "/tmp/x"));
        assert_false(roots_allow(r, "/tmpx"));
        assert_false(roots_allow(r, "/"));
        assert_true(roots_allow(r, "/usr/share/doc"));
        assert_false(roots_allow(r, "/usr/lib"));
        assert_true(roots_allow(r, "/absent/below/it/x"));
        assert_false(roots_allow(r, "/absent/below"));
        assert_false(roots_allow(r, "(unreachable)/tmp"));
        assert_false(roots_allow(r, ""));

        assert_true(roots_allow_making(r, "/absent"));
        assert_true(roots_allow_making(r, "/absent/below/it"));
        assert_false(roots_allow_making(r, "/absent/other"));
        assert_false(roots_allow_making(r, "/absen"));
        roots_free(r);
}

static void test_everything(void **state)
{
        char *allowed[] = { TEXT("/"), NULL };
        struct roots *r = make("/tmp", allowed);

        (void)state;
        assert_true(roots_allow(r, "/"));
        assert_true(roots_allow(r, "/etc/passwd"));
        assert_false(roots_allow(r, "etc"));
        roots_free(r);
}

/* Links in the configuration are the operator's wish; one that is made later is not. */
static void test_links(void **state)
{
        struct files *f = *state;
        char *allowed[] = { xasprintf("%s/alias/deep", f->base), xasprintf("%s/later", f->base),
                            xasprintf("%s/dangling", f->base), NULL };
        struct roots *r;

        files_link(f, files_at(f, "out"), "alias");
        files_mkdir(f, "out/deep");
        files_link(f, files_at(f, "nowhere"), "dangling");
        r = make(files_at(f, "in"), allowed);
        assert_true(roots_allow(r, files_at(f, "out/deep/x")));
        assert_false(roots_allow(r, files_at(f, "alias/deep/x")));
        assert_false(roots_allow(r, files_at(f, "out")));

        files_link(f, files_at(f, "out"), "later");
        assert_false(roots_allow(r, files_at(f, "out")));
        assert_true(roots_allow(r, files_at(f, "later")));
        assert_false(roots_allow(r, files_at(f, "nowhere")));
        roots_free(r);
        for (char **p = allowed; *p; p++)
                free(*p);
}

static void test_refuses(void **state)
{
        char *relative[] = { TEXT("tmp"), NULL };
        struct roots_config c = { .workspace = "/tmp", .allowed = relative };
        struct error err = ERROR_INIT;
        struct roots *r = NULL;

        (void)state;
        assert_int_equal(roots_new(&c, &r, &err), -EINVAL);
        assert_string_equal(err.message, "allowed path tmp is not absolute");
        c = (struct roots_config){ .workspace = "" };
        assert_int_equal(roots_new(&c, &r, &err), -EINVAL);
        c = (struct roots_config){ .workspace = "/etc/passwd/x" };
        assert_int_equal(roots_new(&c, &r, &err), -ENOTDIR);
        assert_null(r);
        assert_null(roots_free(NULL));
}

static void test_outcomes(void **state)
{
        struct error err = ERROR_INIT;
        char longest[4096];

        (void)state;
        assert_int_equal(files_fail_errno(&err, -ENOENT, "/a b"), FILES_E_NOT_FOUND);
        assert_int_equal(err.code, FILES_E_NOT_FOUND);
        assert_string_equal(err.message, "File not found: /a b");
        assert_int_equal(files_fail_errno(&err, -EDQUOT, "x"), FILES_E_NO_SPACE);
        assert_int_equal(files_fail_errno(&err, -EIO, "x"), FILES_E_OTHER);
        assert_string_equal(err.message, "x: Input/output error");
        assert_int_equal(err.code, FILES_E_OTHER);
        for (int outcome = 1; outcome < FILES_E_OTHER; outcome++) {
                assert_int_equal(files_fail(&err, outcome, "/p"), outcome);
                assert_non_null(strstr(err.message, ": /p"));
        }

        /* Both ends of a long one, and no half characters. */
        for (size_t i = 0; i < sizeof(longest); i += 2)
                memcpy(longest + i, "\xc3\xa9", 2);
        longest[0] = '/';
        longest[1] = 'x';
        longest[2] = 'y';
        longest[3] = 'z';
        longest[4094] = 'Z';
        longest[4095] = '\0';
        (void)files_fail(&err, FILES_E_TOO_LONG, longest);
        assert_non_null(strstr(err.message, "/xyz"));
        assert_non_null(strstr(err.message, "..."));
        assert_int_equal(err.message[strlen(err.message) - 1], 'Z');
        assert_int_equal((unsigned char)strstr(err.message, "...")[-1], 0xa9);
        assert_int_equal((unsigned char)strstr(err.message, "...")[3], 0xc3);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_allow),   cmocka_unit_test(test_everything),
                cmocka_unit_test(test_refuses), cmocka_unit_test(test_outcomes),
                FILES_TEST(test_links),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
