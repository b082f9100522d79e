/* SPDX-License-Identifier: Apache-2.0 */

/* Any body as a form: the events are in order, and the same in whatever pieces the body comes.
 *
 * Input: the size of the pieces (a byte), the header Content-Type up to a line end, the body. */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "agent/http/multipart.h"
#include "tests/fuzz/fuzz.h"

struct events {
        bool is_in_file;
        unsigned n;
        uint64_t hash; /* of all that was reported, however it was cut */
};

static void add(struct events *e, const void *data, size_t size)
{
        const unsigned char *p = data;

        for (size_t i = 0; i < size; i++)
                e->hash = (e->hash ^ p[i]) * 1099511628211u;
}

static int on_field(void *arg, const char *name, const char *value, size_t size, struct error *err)
{
        struct events *e = arg;

        (void)err;
        MUST(!e->is_in_file);
        MUST(size <= LIMIT_MULTIPART_FIELD && value[size] == '\0');
        add(e, "F", 1);
        add(e, name, strlen(name) + 1);
        add(e, value, size);
        e->n++;
        return 0;
}

static int on_file(void *arg, const struct multipart_file *file, struct error *err)
{
        struct events *e = arg;

        (void)err;
        MUST(!e->is_in_file);
        e->is_in_file = true;
        add(e, "B", 1);
        add(e, file->name, strlen(file->name) + 1);
        add(e, file->filename, strlen(file->filename) + 1);
        if (file->type)
                add(e, file->type, strlen(file->type) + 1);
        e->n++;
        return 0;
}

static int on_data(void *arg, const char *data, size_t size, struct error *err)
{
        struct events *e = arg;

        (void)err;
        MUST(e->is_in_file && size > 0);
        add(e, data, size);
        return 0;
}

static int on_file_end(void *arg, struct error *err)
{
        struct events *e = arg;

        (void)err;
        MUST(e->is_in_file);
        e->is_in_file = false;
        add(e, "E", 1);
        e->n++;
        return 0;
}

static const struct multipart_ops ops = { on_field, on_file, on_data, on_file_end };

static int run(const char *type, const uint8_t *data, size_t size, size_t piece, struct events *e)
{
        struct error err = ERROR_INIT;
        struct multipart *m;
        int r;

        *e = (struct events){ .hash = 14695981039346656037u };
        r = multipart_new(type, &ops, e, &m, &err);
        if (r < 0) {
                MUST(r == -EINVAL && e->n == 0);
                return r;
        }
        for (size_t at = 0; at < size && r == 0; at += piece) {
                size_t n = piece < size - at ? piece : size - at;
                char *copy = malloc(n); /* so that a read behind it is noticed */

                MUST(copy);
                memcpy(copy, data + at, n);
                r = multipart_feed(m, copy, n, &err);
                free(copy);
        }
        if (r == 0)
                r = multipart_end(m, &err);
        MUST(r == 0 || r == -EBADMSG || r == -EFBIG);
        MUST(r < 0 || !e->is_in_file);
        MUST(r == 0 || err.message[0] != '\0');
        multipart_free(m);
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const uint8_t *end = size > 1 ? memchr(data + 1, '\n', size - 1) : NULL;
        struct events whole, pieces;
        char *type;

        if (!end)
                return 0;
        type = strndup((const char *)data + 1, (size_t)(end - data - 1));
        MUST(type);
        size -= (size_t)(end + 1 - data);
        MUST(run(type, end + 1, size, size + 1, &whole) ==
             run(type, end + 1, size, 1 + data[0] % 64, &pieces));
        MUST(whole.n == pieces.n && whole.hash == pieces.hash);
        free(type);
        return 0;
}
