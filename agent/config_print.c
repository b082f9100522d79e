/* SPDX-License-Identifier: Apache-2.0 */

/* The option table as documentation: --help, the README's reference, the example file, the manual page. */

#include <string.h>

#include "agent/base/str.h"
#include "agent/config_table.h"

#define HELP_COLUMN   30
#define HELP_WIDTH    96
#define COMMENT_WIDTH 90
#define MAN_WIDTH     78

/* Prints @text word by word, starting in column @column; further lines start with @prefix. */
static void print_wrapped(FILE *out, const char *text, size_t column, size_t width,
                          const char *prefix)
{
        size_t start = strlen(prefix);

        while (*text) {
                size_t size = strcspn(text, " ");

                if (column > start && column + 1 + size > width) {
                        fprintf(out, "\n%s", prefix);
                        column = start;
                } else if (column > start) {
                        fputc(' ', out);
                        column++;
                }
                fprintf(out, "%.*s", (int)size, text);
                column += size;
                text += size + strspn(text + size, " ");
        }
        fputc('\n', out);
}

static const char *default_text(const struct option_row *o)
{
        return o->def ? o->def : o->def_note;
}

static void print_sentence(FILE *out, const struct option_row *o, size_t column, size_t width,
                           const char *prefix)
{
        char text[512];

        (void)snprintf(text, sizeof(text), "%s Default: %s.", o->help, default_text(o));
        print_wrapped(out, text, column, width, prefix);
}

/* One paragraph per option, in the order of the table. */
void config_print_help(FILE *out)
{
        char left[64];
        char indent[HELP_COLUMN + 1];

        memset(indent, ' ', HELP_COLUMN);
        indent[HELP_COLUMN] = '\0';

        option_for_each(o)
        {
                if (o->group)
                        fprintf(out, "%s%s:\n", o == option_table ? "" : "\n", o->group);

                if (o->type == OPTION_BOOL)
                        (void)snprintf(left, sizeof(left), "  --[no-]%s", o->name);
                else
                        (void)snprintf(left, sizeof(left), "  --%s %s", o->name, o->metavar);
                fprintf(out, "%-*s", HELP_COLUMN, left);
                if (strlen(left) >= HELP_COLUMN)
                        fprintf(out, "\n%s", indent);
                print_sentence(out, o, HELP_COLUMN, HELP_WIDTH, indent);
        }

        fputs("\nEvery option may also stand in the configuration file (max-body = 16M) or in the\n"
              "environment (VM_AGENT_MAX_BODY=16M, lists separated by commas). The command line wins\n"
              "over the environment, the environment over the file.\n",
              out);
}

static const char *reload_text(const struct option_row *o)
{
        return o->flags & OPTION_RELOAD ? "yes" : "no";
}

/* A bar would end the table's cell. */
static void print_cell(FILE *out, const char *text)
{
        for (; *text; text++) {
                if (*text == '|' || *text == '*')
                        fputc('\\', out);
                fputc(*text, out);
        }
}

/* Fixed values are code, descriptions are prose. */
void config_print_reference(FILE *out)
{
        fputs("| Option | Default | Reloadable | Meaning |\n|---|---|---|---|\n", out);
        option_for_each(o)
        {
                fprintf(out, "| `--%s` | %s", o->name, o->def ? "`" : "");
                print_cell(out, default_text(o));
                fprintf(out, "%s | %s | ", o->def ? "`" : "", reload_text(o));
                print_cell(out, o->help);
                fputs(" |\n", out);
        }
}

/* The default, or the form of a value. */
static void print_example_value(FILE *out, const struct option_row *o)
{
        bool is_path = o->type == OPTION_PATH || o->type == OPTION_PATH_LIST;

        if (o->def)
                fputs(o->def, out);
        else
                fprintf(out, "%s%s", is_path ? "/" : "", o->metavar);
}

/* Everything is commented out: the file changes nothing until somebody edits it. */
void config_print_example(FILE *out)
{
        fputs("# Configuration of vm-agent. What is commented out shows the default, or the form of a value.\n"
              "# VM_AGENT_* in the environment and options on the command line win over this file. After a\n"
              "# change: systemctl reload vm-agent; options marked (restart) need a restart.\n"
              "\n"
              "[agent]\n",
              out);

        option_for_each(o)
        {
                if (o->flags & OPTION_NO_FILE)
                        continue;
                fputs("\n# ", out);
                print_sentence(out, o, strlen("# "), COMMENT_WIDTH, "# ");
                if (!(o->flags & OPTION_RELOAD))
                        fputs("# (restart)\n", out);
                fprintf(out, "#%s = ", o->name);
                print_example_value(out, o);
                fputc('\n', out);
        }
}

/* Text for a manual page: a backslash would begin an escape, a minus become a hyphen that nobody can paste; a point or
 * an apostrophe at the beginning of a line is a request, and any word may come to stand there. */
static void escape_roff(char *dst, size_t size, const char *text)
{
        size_t n = 0;

        for (size_t i = 0; text[i] && n + 4 < size; i++) {
                bool is_first = i == 0 || text[i - 1] == ' ';

                if (is_first && (text[i] == '.' || text[i] == '\''))
                        n += (size_t)snprintf(dst + n, size - n, "\\&");
                if (text[i] == '\\')
                        n += (size_t)snprintf(dst + n, size - n, "\\e");
                else if (text[i] == '-')
                        n += (size_t)snprintf(dst + n, size - n, "\\-");
                else
                        dst[n++] = text[i];
        }
        dst[n] = '\0';
}

/* Paragraphs for the section of options of vm-agent.conf(5). */
void config_print_man(FILE *out)
{
        char text[1024], escaped[2048];

        option_for_each(o)
        {
                if (o->group)
                        fprintf(out, ".SS %s\n", o->group);
                if (o->flags & OPTION_NO_FILE)
                        continue;
                escape_roff(escaped, sizeof(escaped), o->name);
                fprintf(out, ".TP\n\\fB%s\\fR = \\fI%s\\fR\n", escaped,
                        o->metavar ? o->metavar : "BOOL");
                (void)snprintf(text, sizeof(text), "%s Default: %s.%s", o->help, default_text(o),
                               o->flags & OPTION_RELOAD ? "" : " Needs a restart.");
                escape_roff(escaped, sizeof(escaped), text);
                print_wrapped(out, escaped, 0, MAN_WIDTH, "");
        }
}
