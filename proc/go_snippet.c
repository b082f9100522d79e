/* SPDX-License-Identifier: Apache-2.0 */

/* A Go file begins with a package clause and has declarations only; what people send to a sandbox is often just
 * `fmt.Println(1)`. The snippet is cut at the ends of its top-level lines into pieces, each of which goes to one
 * of three places, with a //line comment that keeps its line number:
 *
 *     package main
 *     import "fmt"                    added: see packages
 *     import "strings"                the snippet's own imports
 *     type T struct { … }             types and functions, wherever they stood (methods cannot be local);
 *     func f() { … }                  var and const only if they stood in front of the first statement
 *     func main() { statements }      unless the snippet has a main of its own
 *
 * This needs no parser, only a scanner that knows comments, strings and brackets. Where it guesses wrong the
 * compiler says so, in the user's own lines. */

#include "proc/go_snippet.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* Imported when `name.Upper` is used and name is not declared or imported by the snippet. */
static const struct {
        const char *name;
        const char *path;
} packages[] = {
        { "atomic", "sync/atomic" },
        { "base64", "encoding/base64" },
        { "big", "math/big" },
        { "binary", "encoding/binary" },
        { "bits", "math/bits" },
        { "bufio", "bufio" },
        { "bytes", "bytes" },
        { "cmp", "cmp" },
        { "context", "context" },
        { "csv", "encoding/csv" },
        { "errors", "errors" },
        { "exec", "os/exec" },
        { "filepath", "path/filepath" },
        { "flag", "flag" },
        { "fmt", "fmt" },
        { "hex", "encoding/hex" },
        { "http", "net/http" },
        { "httptest", "net/http/httptest" },
        { "io", "io" },
        { "json", "encoding/json" },
        { "log", "log" },
        { "maps", "maps" },
        { "math", "math" },
        { "md5", "crypto/md5" },
        { "net", "net" },
        { "os", "os" },
        { "path", "path" },
        { "rand", "math/rand" },
        { "reflect", "reflect" },
        { "regexp", "regexp" },
        { "runtime", "runtime" },
        { "sha256", "crypto/sha256" },
        { "signal", "os/signal" },
        { "slices", "slices" },
        { "sort", "sort" },
        { "strconv", "strconv" },
        { "strings", "strings" },
        { "sync", "sync" },
        { "syscall", "syscall" },
        { "time", "time" },
        { "unicode", "unicode" },
        { "url", "net/url" },
        { "utf8", "unicode/utf8" },
};

enum piece_kind { PIECE_IMPORT, PIECE_DECLARATION, PIECE_VARIABLE, PIECE_STATEMENT, PIECE_BLANK };

struct piece {
        enum piece_kind kind;
        const char *start;
        const char *end;
        unsigned line;
};

static bool is_ident(char c)
{
        return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* If a comment or a literal starts at @s: where it ends. Else @s. */
static const char *skip_opaque(const char *s, const char *end)
{
        const char *p = s + 1;
        char quote = *s;

        if (s + 1 < end && s[0] == '/' && s[1] == '/') {
                p = memchr(s, '\n', (size_t)(end - s));
                return p ? p : end;
        }
        if (s + 1 < end && s[0] == '/' && s[1] == '*') {
                p = memmem(s + 2, (size_t)(end - s - 2), "*/", 2);
                return p ? p + 2 : end;
        }
        if (quote != '"' && quote != '`' && quote != '\'')
                return s;
        while (p < end && *p != quote) {
                if (quote != '`' && *p == '\n')
                        return p; /* unterminated: the compiler will say so */
                p += quote != '`' && *p == '\\' && p + 1 < end ? 2 : 1;
        }
        return p < end ? p + 1 : end;
}

/* The next thing that is neither blank nor comment. */
static const char *skip_blank(const char *s, const char *end)
{
        while (s < end) {
                const char *after;

                if (isspace((unsigned char)*s) || *s == ';') {
                        s++;
                        continue;
                }
                after = *s == '/' ? skip_opaque(s, end) : s;
                if (after == s)
                        break;
                s = after;
        }
        return s;
}

static bool at_word(const char *s, const char *end, const char *word)
{
        size_t size = strlen(word);

        return (size_t)(end - s) >= size && memcmp(s, word, size) == 0 &&
               (s + size == end || !is_ident(s[size]));
}

/* Where the line that starts at @s ends, when brackets and literals may carry it on. */
static const char *end_of_piece(const char *s, const char *end)
{
        int depth = 0;

        while (s < end) {
                const char *after = skip_opaque(s, end);

                if (after != s) {
                        s = after;
                        continue;
                }
                if (*s == '(' || *s == '[' || *s == '{')
                        depth++;
                else if (*s == ')' || *s == ']' || *s == '}')
                        depth--;
                else if (*s == '\n' && depth <= 0)
                        return s + 1;
                s++;
        }
        return end;
}

/* `func name…` and `func (r T) name…` declare; `func(…) {…}()` is a statement. @s is behind "func". */
static bool is_func_declaration(const char *s, const char *end)
{
        int depth = 0;

        s = skip_blank(s, end);
        if (s < end && *s != '(')
                return true;
        for (; s < end; s++) {
                depth += (*s == '(') - (*s == ')');
                if (depth == 0)
                        break;
        }
        s += s < end;
        s = skip_blank(s, end);
        if (s >= end || !is_ident(*s))
                return false;
        while (s < end && is_ident(*s))
                s++;
        s = skip_blank(s, end);
        return s < end && *s == '(';
}

static enum piece_kind classify(const char *start, const char *end)
{
        const char *s = skip_blank(start, end);

        if (s == end)
                return PIECE_BLANK;
        if (at_word(s, end, "import"))
                return PIECE_IMPORT;
        if (at_word(s, end, "type") || (at_word(s, end, "func") && is_func_declaration(s + 4, end)))
                return PIECE_DECLARATION;
        if (at_word(s, end, "var") || at_word(s, end, "const"))
                return PIECE_VARIABLE;
        return PIECE_STATEMENT;
}

static bool next_piece(struct piece *p, const char *end)
{
        const char *start = p->end;

        for (const char *s = p->start; s < start; s++)
                p->line += *s == '\n';
        if (start >= end)
                return false;
        p->start = start;
        p->end = end_of_piece(start, end);
        p->kind = classify(p->start, p->end);
        return true;
}

/* How the snippet uses the identifier @name, outside of comments and literals. */
static void find_uses(const char *s, const char *end, const char *name, bool *ret_qualifies,
                      bool *ret_other)
{
        size_t size = strlen(name);

        *ret_qualifies = *ret_other = false;
        while (s < end) {
                const char *after = skip_opaque(s, end);
                const char *word = s;

                if (after != s) {
                        s = after;
                        continue;
                }
                if (!is_ident(*s)) {
                        /* a field or method of something: x.name */
                        for (s++; s[-1] == '.' && s < end && is_ident(*s);)
                                s++;
                        continue;
                }
                while (s < end && is_ident(*s))
                        s++;
                if ((size_t)(s - word) != size || memcmp(word, name, size) != 0)
                        continue;
                if (s + 1 < end && *s == '.' && isupper((unsigned char)s[1]))
                        *ret_qualifies = true;
                else
                        *ret_other = true;
        }
}

/* Whether an import piece brings @path, under whatever name. */
static bool imports(const char *code, const char *end, const char *path)
{
        struct piece p = { .start = code, .end = code, .line = 1 };

        while (next_piece(&p, end)) {
                const char *s = p.start;

                if (p.kind != PIECE_IMPORT)
                        continue;
                while ((s = memchr(s, '"', (size_t)(p.end - s))) != NULL) {
                        const char *close = memchr(s + 1, '"', (size_t)(p.end - s - 1));
                        const char *base;

                        if (!close)
                                break;
                        /* a path that ends the same brings the same name: crypto/rand for math/rand */
                        base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
                        if ((size_t)(close - s - 1) >= strlen(base) &&
                            memcmp(close - strlen(base), base, strlen(base)) == 0 &&
                            (close - strlen(base) == s + 1 ||
                             close[-(ptrdiff_t)strlen(base) - 1] == '/'))
                                return true;
                        s = close + 1;
                }
        }
        return false;
}

static int add_imports(const char *code, const char *end, struct buf *ret)
{
        int r = 0;

        for (size_t i = 0; i < ARRAY_LEN(packages) && r == 0; i++) {
                bool qualifies, other;

                find_uses(code, end, packages[i].name, &qualifies, &other);
                if (qualifies && !other && !imports(code, end, packages[i].path))
                        r = buf_appendf(ret, "import \"%s\"\n", packages[i].path);
        }
        return r;
}

static bool is_main(const struct piece *p)
{
        const char *s = skip_blank(p->start, p->end);

        return p->kind == PIECE_DECLARATION && at_word(s, p->end, "func") &&
               at_word(skip_blank(s + 4, p->end), p->end, "main");
}

static int add_piece(const struct piece *p, struct buf *ret)
{
        int r = buf_appendf(ret, "//line main.go:%u:1\n", p->line);

        if (r == 0)
                r = buf_append(ret, p->start, (size_t)(p->end - p->start));
        if (r == 0 && p->end[-1] != '\n')
                r = buf_append_str(ret, "\n");
        return r;
}

/* Appends the pieces that belong at the top level, or those that do not. */
static int add_pieces(const char *code, const char *end, enum piece_kind want, bool *ret_has_main,
                      struct buf *ret)
{
        struct piece p = { .start = code, .end = code, .line = 1 };
        bool has_statement = false;
        int r = 0;

        while (r == 0 && next_piece(&p, end)) {
                enum piece_kind place = p.kind;

                has_statement |= p.kind == PIECE_STATEMENT;
                *ret_has_main |= is_main(&p);
                if (p.kind == PIECE_VARIABLE)
                        place = has_statement ? PIECE_STATEMENT : PIECE_DECLARATION;
                if (place == want)
                        r = add_piece(&p, ret);
        }
        return r;
}

/* See the header. */
int go_snippet_complete(const char *code, size_t size, struct buf *ret)
{
        const char *end = code + size;
        bool has_main = false;
        int r;

        if (at_word(skip_blank(code, end), end, "package"))
                return buf_append(ret, code, size);

        r = buf_append_str(ret, "package main\n");
        if (r == 0)
                r = add_imports(code, end, ret);
        if (r == 0)
                r = add_pieces(code, end, PIECE_IMPORT, &has_main, ret);
        if (r == 0)
                r = add_pieces(code, end, PIECE_DECLARATION, &has_main, ret);
        /* With a main of its own, a stray statement stays where the compiler will point at it. */
        if (r == 0 && !has_main)
                r = buf_append_str(ret, "func main() {\n");
        if (r == 0)
                r = add_pieces(code, end, PIECE_STATEMENT, &has_main, ret);
        if (r == 0 && !has_main)
                r = buf_append_str(ret, "}\n");
        return r;
}
