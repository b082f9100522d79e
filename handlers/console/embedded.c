/* SPDX-License-Identifier: Apache-2.0 */

/* The assembler copies the files into read-only data: no generator, no encoding, and pages of memory that are only
 * touched when somebody opens the console. */

#include "handlers/console/embedded.h"

#include "agent/base/macros.h"
#include "agent/base/str.h"
#include "handlers/console/embedded_files.h"

#define EMBED(symbol, path)                                                \
        __asm__(".pushsection .rodata\n"                                   \
                ".global embedded_" #symbol ", embedded_" #symbol "_end\n" \
                ".hidden embedded_" #symbol ", embedded_" #symbol "_end\n" \
                "embedded_" #symbol ":\n"                                  \
                ".incbin \"" path "\"\n"                                   \
                "embedded_" #symbol "_end:\n"                              \
                ".byte 0\n"                                                \
                ".popsection\n");                                          \
        extern const char embedded_##symbol[], embedded_##symbol##_end[]

EMBED(index_html, INDEX_HTML_PATH);
EMBED(console_css, CONSOLE_CSS_PATH);
EMBED(console_js, CONSOLE_JS_PATH);
EMBED(csp_js, CSP_JS_PATH);
EMBED(agent_js, AGENT_JS_PATH);
EMBED(terminal_js, TERMINAL_JS_PATH);
EMBED(code_js, CODE_JS_PATH);
EMBED(xterm_css, XTERM_CSS_PATH);
EMBED(xterm_mjs, XTERM_MJS_PATH);
EMBED(addon_fit_mjs, ADDON_FIT_MJS_PATH);

#define TYPE_HTML "text/html; charset=utf-8"
#define TYPE_CSS  "text/css; charset=utf-8"
#define TYPE_JS   "text/javascript; charset=utf-8"

#define FILE_ROW(name, type, symbol, hash)                                             \
        {                                                                              \
                name, type, "\"" hash "\"", embedded_##symbol, embedded_##symbol##_end \
        }

static const struct embedded_file page = FILE_ROW("index.html", TYPE_HTML, index_html,
                                                  INDEX_HTML_HASH);

static const struct embedded_file files[] = {
        FILE_ROW("console.css", TYPE_CSS, console_css, CONSOLE_CSS_HASH),
        FILE_ROW("console.js", TYPE_JS, console_js, CONSOLE_JS_HASH),
        FILE_ROW("csp.js", TYPE_JS, csp_js, CSP_JS_HASH),
        FILE_ROW("agent.js", TYPE_JS, agent_js, AGENT_JS_HASH),
        FILE_ROW("terminal.js", TYPE_JS, terminal_js, TERMINAL_JS_HASH),
        FILE_ROW("code.js", TYPE_JS, code_js, CODE_JS_HASH),
        FILE_ROW("xterm.css", TYPE_CSS, xterm_css, XTERM_CSS_HASH),
        FILE_ROW("xterm.mjs", TYPE_JS, xterm_mjs, XTERM_MJS_HASH),
        FILE_ROW("addon-fit.mjs", TYPE_JS, addon_fit_mjs, ADDON_FIT_MJS_HASH),
};

/* See the header. */
const struct embedded_file *embedded_page(void)
{
        return &page;
}

/* See the header. */
const struct embedded_file *embedded_find(const char *name)
{
        for (size_t i = 0; i < ARRAY_LEN(files); i++)
                if (str_equal(files[i].name, name))
                        return &files[i];
        return NULL;
}
