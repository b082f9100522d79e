/* SPDX-License-Identifier: Apache-2.0 */

/* What a piece of Go becomes. That it compiles is test_runtime's business. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "proc/go_snippet.h"

static void assert_becomes(const char *code, const char *expected)
{
        struct buf b;

        buf_init(&b, 0);
        assert_int_equal(go_snippet_complete(code, strlen(code), &b), 0);
        assert_string_equal(b.data, expected);
        buf_done(&b);
}

static void test_complete_files_are_left_alone(void **state)
{
        static const char *const files[] = {
                "package main\nfunc main() {}\n",
                "// a comment\n\n/* another\n one */ package other\n",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(files); i++)
                assert_becomes(files[i], files[i]);
}

static void test_rows(void **state)
{
        static const struct {
                const char *code;
                const char *expected;
        } rows[] = {
                { "", "package main\nfunc main() {\n}\n" },
                { "fmt.Println(1)",
                  "package main\nimport \"fmt\"\nfunc main() {\n//line main.go:1:1\nfmt.Println(1)\n}\n" },
                /* its own imports stay, known ones are added, none twice */
                { "import \"os\"\nimport r \"crypto/rand\"\nfmt.Fprintln(os.Stderr, r.Reader)\n",
                  "package main\nimport \"fmt\"\n//line main.go:1:1\nimport \"os\"\n//line main.go:2:1\n"
                  "import r \"crypto/rand\"\nfunc main() {\n//line main.go:3:1\n"
                  "fmt.Fprintln(os.Stderr, r.Reader)\n}\n" },
                { "import (\n\t\"fmt\"\n\t\"strings\"\n)\nfmt.Println(strings.ToUpper(\"a\"))\n",
                  "package main\n//line main.go:1:1\nimport (\n\t\"fmt\"\n\t\"strings\"\n)\nfunc main() {\n"
                  "//line main.go:5:1\nfmt.Println(strings.ToUpper(\"a\"))\n}\n" },
                /* functions, methods and types go out; a func literal stays in */
                { "x := 1\nfunc add(a, b int) int {\n\treturn a + b\n}\ntype T struct {\n\ta int\n}\n"
                  "func (t T) get() int { return t.a }\nfunc() { _ = x }()\n_ = add(x, 2)\n",
                  "package main\n//line main.go:2:1\nfunc add(a, b int) int {\n\treturn a + b\n}\n"
                  "//line main.go:5:1\ntype T struct {\n\ta int\n}\n//line main.go:8:1\n"
                  "func (t T) get() int { return t.a }\nfunc main() {\n//line main.go:1:1\nx := 1\n"
                  "//line main.go:9:1\nfunc() { _ = x }()\n//line main.go:10:1\n_ = add(x, 2)\n}\n" },
                /* variables in front are global, later ones are not */
                { "const n = 3\nvar a = n\nprintln(a)\nvar b = a\nprintln(b)\n",
                  "package main\n//line main.go:1:1\nconst n = 3\n//line main.go:2:1\nvar a = n\nfunc main() {\n"
                  "//line main.go:3:1\nprintln(a)\n//line main.go:4:1\nvar b = a\n"
                  "//line main.go:5:1\nprintln(b)\n}\n" },
                { "func main() {\n\tprintln(1)\n}\n",
                  "package main\n//line main.go:1:1\nfunc main() {\n\tprintln(1)\n}\n" },
                /* names in strings, comments, fields and variables are no packages */
                { "// fmt.Println\ns := \"os.Exit\" + `\nlog.Fatal`\nx.time.Now()\nsort := 1\n_ = sort\nsort.Ints(s)\n",
                  "package main\nfunc main() {\n//line main.go:2:1\ns := \"os.Exit\" + `\nlog.Fatal`\n"
                  "//line main.go:4:1\nx.time.Now()\n//line main.go:5:1\nsort := 1\n//line main.go:6:1\n_ = sort\n"
                  "//line main.go:7:1\nsort.Ints(s)\n}\n" },
                { "json.Marshal(rand.Intn(2))",
                  "package main\nimport \"encoding/json\"\nimport \"math/rand\"\nfunc main() {\n"
                  "//line main.go:1:1\njson.Marshal(rand.Intn(2))\n}\n" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
                assert_becomes(rows[i].code, rows[i].expected);
}

/* Every beginning of a tricky text: nothing is read beyond its end (the sanitizers watch). */
static void test_cut_anywhere(void **state)
{
        static const char code[] =
                "import (\n\"fmt\" // c\n)\nfunc (a *T) f(x int) { '\\'' `raw\n` }\n"
                "/* c */ func(){}()\n\"esc\\\"\" x.fmt.Print\nfmt.Println(\"\\";

        (void)state;
        for (size_t size = 0; size < sizeof(code); size++) {
                char *exact = malloc(size ? size : 1);
                struct buf b;

                memcpy(exact, code, size);
                buf_init(&b, 0);
                assert_int_equal(go_snippet_complete(exact, size, &b), 0);
                assert_true(b.size > 0);
                buf_done(&b);
                free(exact);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_complete_files_are_left_alone),
                cmocka_unit_test(test_rows),
                cmocka_unit_test(test_cut_anywhere),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
