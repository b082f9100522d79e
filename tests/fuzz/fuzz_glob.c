/* SPDX-License-Identifier: Apache-2.0 */

/* The first line is a pattern, the rest a text. Whatever they are: no crash, an explanation for a malformed pattern,
 * and a few laws that hold for every text. */

#include <errno.h>
#include <string.h>

#include "agent/files/glob.h"
#include "tests/fuzz/fuzz.h"

static bool matches(const char *pattern, const char *text)
{
        struct error err = ERROR_INIT;
        struct glob *g = NULL;
        bool first;

        MUST(glob_new(pattern, &g, &err) == 0);
        first = glob_match(g, text);
        MUST(glob_match(g, text) == first);
        glob_free(g);
        return first;
}

/* The text itself as a pattern, every byte of ASCII behind a backslash; longer ones are cut. */
static void escape(const char *text, char dst[LIMIT_GLOB_PATTERN + 1])
{
        size_t size = 0;

        for (; *text && size + 2 <= LIMIT_GLOB_PATTERN; text++) {
                if ((unsigned char)*text < 0x80)
                        dst[size++] = '\\';
                dst[size++] = *text;
        }
        dst[size] = '\0';
}

static void check(const char *pattern, const char *text)
{
        char itself[LIMIT_GLOB_PATTERN + 1];
        struct error err = ERROR_INIT;
        struct glob *g = NULL;
        int r;

        r = glob_new(pattern, &g, &err);
        if (r < 0) {
                MUST(!g);
                MUST(r == -E2BIG || r == -EINVAL);
                MUST((r == -E2BIG) == (strlen(pattern) > LIMIT_GLOB_PATTERN));
                MUST(err.message[0] != '\0');
        } else {
                (void)glob_match(g, text);
                /* Without special characters only itself fits. */
                if (strcspn(pattern, "*?[{}\\,") == strlen(pattern))
                        MUST(glob_match(g, text) == (strcmp(pattern, text) == 0));
                glob_free(g);
        }

        MUST(matches("**", text));
        MUST(matches("*", text) == !strchr(text, '/'));
        MUST(matches("{x,**}", text));
        escape(text, itself);
        if (strlen(text) <= LIMIT_GLOB_PATTERN / 2)
                MUST(matches(itself, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *pattern = malloc(size + 1);
        char *text;

        MUST(pattern);
        if (size > 0)
                memcpy(pattern, data, size);
        pattern[size] = '\0';
        text = strchr(pattern, '\n');
        if (text)
                *text++ = '\0';
        check(pattern, text ? text : "");
        free(pattern);
        return 0;
}
