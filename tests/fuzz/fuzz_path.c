/* SPDX-License-Identifier: Apache-2.0 */

/* Any string as a path: the result is plain, stays so when normalised again, and nothing climbs
 * over the root. */

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "agent/base/path.h"
#include "tests/fuzz/fuzz.h"

static void check_plain(const char *path)
{
        size_t size = strlen(path);

        MUST(path[0] == '/');
        MUST(size < PATH_MAX);
        if (size == 1)
                return;

        MUST(path[size - 1] != '/');
        for (const char *p = path; *p;) {
                size_t length = strcspn(p + 1, "/");

                MUST(length > 0 && length <= NAME_MAX);
                MUST(!(length == 1 && p[1] == '.'));
                MUST(!(length == 2 && p[1] == '.' && p[2] == '.'));
                p += 1 + length;
        }
}

static void check(const char *base, const char *path)
{
        struct error err = ERROR_INIT;
        char *first = NULL, *second = NULL;
        int r;

        r = path_normalize(base, path, &first, &err);
        if (r < 0) {
                MUST(r == (path[0] == '\0' ? -EINVAL : -ENAMETOOLONG));
                MUST(!first);
                MUST(err.message[0] != '\0');
                return;
        }

        check_plain(first);
        MUST(path_is_under(first, "/"));
        MUST(path_is_under(first, first));
        MUST(path_normalize("/elsewhere", first, &second, &err) == 0);
        MUST(strcmp(first, second) == 0);
        free(first);
        free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *path = malloc(size + 1);

        MUST(path);
        if (size > 0)
                memcpy(path, data, size);
        path[size] = '\0';

        check("/workspace", path);
        check("/", path);
        check("/a/../b//c/.", path);
        free(path);
        return 0;
}
