/* SPDX-License-Identifier: Apache-2.0 */

/* Whatever an archive says, it changes nothing but its target, takes no more room than it may, and leaves nothing when
 * it is refused. The first byte is the size of the pieces that it comes in. */

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/path.h"
#include "agent/files/outcome.h"
#include "handlers/files/unpack_steps.h"
#include "tests/fuzz/fuzz.h"

#define MAX_SIZE 100000

static char base[] = "/tmp/fuzz_unpack.XXXXXX";
static struct roots *roots;

static void clean_up(void)
{
        roots_free(roots);
        (void)path_remove_tree(base);
}

static void prepare(void)
{
        struct error err = ERROR_INIT;
        struct roots_config c = { .uid = geteuid(), .gid = getegid() };

        MUST(mkdtemp(base));
        c.workspace = base;
        MUST(roots_new(&c, &roots, &err) == 0);
        MUST(atexit(clean_up) == 0);
}

static unsigned count(const char *path)
{
        DIR *dir = opendir(path);
        const struct dirent *e;
        unsigned n = 0;

        MUST(dir);
        while ((e = readdir(dir)))
                n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
        (void)closedir(dir);
        return n;
}

static int unpack(const uint8_t *data, size_t size, size_t piece, const char *path)
{
        atomic_bool cancel = false;
        const struct unpack_steps_options o = {
                .roots = roots, .path = path, .max_size = MAX_SIZE, .cancel = &cancel
        };
        struct error err = ERROR_INIT;
        struct unpack_steps *s = NULL;
        int r = unpack_steps_new(&o, &s, &err);

        MUST(r == 0);
        for (size_t at = 0; at < size && r == 0; at += piece) {
                r = unpack_steps_feed(s, data + at, MIN(piece, size - at), &err);
                while (r == -EAGAIN)
                        r = unpack_steps_resume(s, &err);
        }
        if (r == 0)
                r = unpack_steps_finish(s, path, true, &err);
        while (r == -EAGAIN)
                r = unpack_steps_resume(s, &err);
        if (r == 0)
                MUST(unpack_steps_result(s).size <= MAX_SIZE);
        else
                MUST(err.message[0] != '\0' || r == -ENOMEM);
        unpack_steps_free(s);
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *path;
        int r;

        if (size == 0)
                return 0;
        if (!roots)
                prepare();
        path = xasprintf("%s/target", base);
        r = unpack(data + 1, size - 1, 1 + (size_t)data[0] * 16, path);
        MUST(r == 0 || r == -EBADMSG || r == -EFBIG || r == -ENOMEM);
        MUST(count(base) == (r == 0)); /* the target and nothing else */
        MUST(path_remove_tree(path) == 0);
        free(path);
        return 0;
}
