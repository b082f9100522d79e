/* SPDX-License-Identifier: Apache-2.0 */

/* Stands in for libFuzzer in ordinary builds: runs the target once on each file of a directory. A
 * failing input aborts, and its name is the last one printed. */

#include <dirent.h>
#include <string.h>

#include "agent/base/buf.h"
#include "agent/base/fd.h"
#include "agent/base/macros.h"
#include "tests/fuzz/fuzz.h"

#define MAX_INPUT_SIZE (16 * MIB)

static void replay(const char *directory, const char *name)
{
        char path[4096];
        struct error err = ERROR_INIT;
        struct buf content;
        uint8_t *copy;
        size_t size;

        (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
        (void)printf("%s\n", path);
        (void)fflush(stdout);

        buf_init(&content, 0);
        if (fd_read_file(path, MAX_INPUT_SIZE, &content, &err) < 0) {
                (void)fprintf(stderr, "%s\n", err.message);
                exit(1);
        }

        /* Exactly as large as the input, so that a sanitizer sees the first byte read behind it. */
        size = content.size;
        copy = malloc(MAX(size, (size_t)1));
        MUST(copy);
        if (size > 0)
                memcpy(copy, content.data, size);
        buf_done(&content);

        (void)LLVMFuzzerTestOneInput(copy, size);
        free(copy);
}

int main(int argc, char **argv)
{
        unsigned n = 0;

        for (int i = 1; i < argc; i++) {
                DIR *dir = opendir(argv[i]);
                struct dirent *entry;

                if (!dir) {
                        perror(argv[i]);
                        return 1;
                }
                while ((entry = readdir(dir))) {
                        if (entry->d_name[0] == '.')
                                continue;
                        replay(argv[i], entry->d_name);
                        n++;
                }
                (void)closedir(dir);
        }

        (void)printf("%u inputs\n", n);
        return n > 0 ? 0 : 1; /* an empty corpus is a mistake */
}
