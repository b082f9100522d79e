/* SPDX-License-Identifier: Apache-2.0 */

/* multipart/form-data (RFC 7578) by hand. The HTTP library has a parser of its own, but it ends a file name at an
 * escaped quote, knows no filename*, takes everything behind "boundary=" for the boundary, wants one exact spelling of
 * header names, does not tell where a part ends, and needs a connection to live on.
 *
 * Between two calls only little is kept: headers that are not complete, a field's value, or bytes that may be the
 * beginning of a delimiter. A file's content is passed on as it lies in the caller's buffer. */

#include "agent/http/multipart.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/str.h"
#include "agent/http/multipart_header.h"

#define MAX_BOUNDARY 200 /* the RFC says 70 */

enum state {
        STATE_PREAMBLE, /* before the first delimiter: ignored, as parts are */
        STATE_DELIMITER,
        STATE_HEADERS,
        STATE_FIELD,
        STATE_FILE,
        STATE_EPILOGUE, /* behind the last delimiter: ignored */
        STATE_FAILED,
};

struct multipart {
        const struct multipart_ops *ops;
        void *arg;
        enum state state;
        char delimiter[4 + MAX_BOUNDARY + 1]; /* "\r\n--boundary" */
        size_t delimiter_size;
        size_t n_matched; /* bytes of the delimiter that were the end of what was fed */
        size_t n_borrowed; /* of them, that are no content: nobody has sent them, or they ended the headers */
        struct buf held;  /* the line behind a delimiter, or a part's headers */
        struct buf value; /* of a field */
        struct part_header header;
        unsigned n_fields, n_files;
};

/* See the header. */
int multipart_new(const char *content_type, const struct multipart_ops *ops, void *arg,
                  struct multipart **ret, struct error *err)
{
        CLEANUP(mem_free) char *boundary = NULL;
        struct multipart *m;
        size_t size;

        if (!content_type || !header_value_is(content_type, "multipart/form-data"))
                return error_set(err, -EINVAL, "Content-Type must be multipart/form-data");
        boundary = header_parameter(content_type, "boundary");
        size = boundary ? strlen(boundary) : 0;
        if (size == 0 || size > MAX_BOUNDARY || strpbrk(boundary, "\r\n"))
                return error_set(err, -EINVAL, "Content-Type has no boundary");

        m = xnew(struct multipart);
        m->ops = ops;
        m->arg = arg;
        memcpy(m->delimiter, "\r\n--", 4);
        memcpy(m->delimiter + 4, boundary, size);
        m->delimiter_size = 4 + size;
        m->n_matched = m->n_borrowed = 2; /* the first delimiter may be the body's beginning */
        buf_init(&m->held, LIMIT_MULTIPART_HEADERS);
        buf_init(&m->value, LIMIT_MULTIPART_FIELD);
        *ret = m;
        return 0;
}

/* See the header. */
struct multipart *multipart_free(struct multipart *m)
{
        if (!m)
                return NULL;
        buf_done(&m->held);
        buf_done(&m->value);
        part_header_done(&m->header);
        free(m);
        return NULL;
}

/* --- content --- */

static int pass_on(struct multipart *m, const char *data, size_t size, struct error *err)
{
        int r;

        if (size == 0 || m->state == STATE_PREAMBLE)
                return 0;
        if (m->state == STATE_FILE)
                return m->ops->on_data(m->arg, data, size, err);
        r = buf_append(&m->value, data, size);
        if (r == -EFBIG)
                return error_set(err, r, "the field '%.64s' has more than %zu bytes",
                                 m->header.name, LIMIT_MULTIPART_FIELD);
        return r < 0 ? error_set(err, r, "no memory for a field") : 0;
}

static int finish_part(struct multipart *m, struct error *err)
{
        enum state state = m->state;
        int r = 0;

        m->state = STATE_DELIMITER;
        if (state == STATE_FILE)
                r = m->ops->on_file_end(m->arg, err);
        else if (state == STATE_FIELD)
                r = m->ops->on_field(m->arg, m->header.name, m->value.data ? m->value.data : "",
                                     m->value.size, err);
        buf_done(&m->value);
        part_header_done(&m->header);
        return r;
}

/* Goes on with a delimiter that what was fed before may have begun; if it has not, that was content. */
static int match_on(struct multipart *m, const char *data, size_t size, size_t *used,
                    struct error *err)
{
        size_t n = MIN(m->delimiter_size - m->n_matched, size);
        size_t borrowed = m->n_borrowed, matched = m->n_matched;

        if (memcmp(m->delimiter + matched, data, n) == 0) {
                m->n_matched += n;
                *used = n;
                return 0;
        }
        /* A delimiter has a CR at its beginning only, so no other one has begun in what was matched. */
        m->n_matched = m->n_borrowed = 0;
        return pass_on(m, m->delimiter + borrowed, matched - borrowed, err);
}

/* Where in @data a delimiter begins, complete or cut off by the end; @size: nowhere. */
static size_t find_delimiter(const struct multipart *m, const char *data, size_t size)
{
        const char *found = memmem(data, size, m->delimiter, m->delimiter_size);
        size_t tail = MIN(size, m->delimiter_size - 1);
        const char *p;

        if (found)
                return (size_t)(found - data);
        p = data + size - tail;
        while ((p = memchr(p, '\r', (size_t)(data + size - p)))) {
                if (memcmp(p, m->delimiter, (size_t)(data + size - p)) == 0)
                        return (size_t)(p - data);
                p++;
        }
        return size;
}

static int take_content(struct multipart *m, const char *data, size_t size, size_t *used,
                        struct error *err)
{
        int r = 0;

        if (m->n_matched == 0) {
                *used = find_delimiter(m, data, size);
                if (*used > 0)
                        return pass_on(m, data, *used, err);
        }
        r = match_on(m, data, size, used, err);
        if (r == 0 && m->n_matched == m->delimiter_size) {
                m->n_matched = m->n_borrowed = 0;
                r = finish_part(m, err);
        }
        return r;
}

/* --- what is between contents --- */

/* Adds to held until it ends with @end. 1: it does, and that was taken away. */
static int hold_until(struct multipart *m, const char *end, const char *data, size_t size,
                      size_t *used, struct error *err)
{
        size_t end_size = strlen(end), old = m->held.size;
        size_t from = old - MIN(old, end_size - 1), room = LIMIT_MULTIPART_HEADERS - old;
        const char *found;
        int r;

        size = MIN(size, room);
        if (size == 0)
                return error_set(err, -EFBIG, "the headers of a part have more than %zu bytes",
                                 LIMIT_MULTIPART_HEADERS);
        r = buf_append(&m->held, data, size);
        if (r < 0)
                return error_set(err, r, "no memory for the headers of a part");
        found = memmem(m->held.data + from, m->held.size - from, end, end_size);
        if (!found) {
                *used = size;
                return 0;
        }
        *used = (size_t)(found - m->held.data) + end_size - old;
        m->held.size = (size_t)(found - m->held.data);
        m->held.data[m->held.size] = '\0';
        return 1;
}

/* Behind a delimiter: the end of its line, with perhaps blanks before it, or "--". */
static int take_delimiter(struct multipart *m, const char *data, size_t size, size_t *used,
                          struct error *err)
{
        int r;

        if (m->held.size < 2 && size > 0) { /* "--" has no line end that one could wait for */
                r = buf_append(&m->held, data, 1);
                *used = 1;
                if (r < 0)
                        return error_set(err, r, "no memory");
                if (m->held.size == 2 && memcmp(m->held.data, "--", 2) == 0) {
                        m->state = STATE_EPILOGUE;
                        return 0;
                }
                r = m->held.size == 2 && memcmp(m->held.data, "\r\n", 2) == 0;
        } else {
                r = hold_until(m, "\r\n", data, size, used, err);
        }
        if (r <= 0)
                return r;
        if (m->held.data[strspn(m->held.data, " \t\r\n")] != '\0')
                return error_set(err, -EBADMSG, "a delimiter is followed by something else");
        m->state = STATE_HEADERS;
        buf_done(&m->held);
        /* So that headers end with an empty line, even when there are none. */
        r = buf_append_str(&m->held, "\r\n");
        return r < 0 ? error_set(err, r, "no memory") : 0;
}

static int begin_part(struct multipart *m, struct error *err)
{
        struct multipart_file file;
        int r = part_header_parse(m->held.data, m->held.size, &m->header, err);

        buf_done(&m->held);
        if (r < 0)
                return r;
        if (!m->header.filename) {
                m->state = STATE_FIELD;
                if (++m->n_fields > LIMIT_MULTIPART_FIELDS)
                        return error_set(err, -EFBIG, "more than %d fields",
                                         LIMIT_MULTIPART_FIELDS);
                return 0;
        }
        m->state = STATE_FILE;
        if (++m->n_files > LIMIT_MULTIPART_FILES)
                return error_set(err, -EFBIG, "more than %d files", LIMIT_MULTIPART_FILES);
        file = (struct multipart_file){ m->header.name, m->header.filename, m->header.type };
        return m->ops->on_file(m->arg, &file, err);
}

static int take_headers(struct multipart *m, const char *data, size_t size, size_t *used,
                        struct error *err)
{
        int r = hold_until(m, "\r\n\r\n", data, size, used, err);

        if (r <= 0)
                return r;
        m->n_matched = m->n_borrowed = 2; /* a part may end with its headers */
        return begin_part(m, err);
}

static int take(struct multipart *m, const char *data, size_t size, size_t *used, struct error *err)
{
        switch (m->state) {
        case STATE_PREAMBLE:
        case STATE_FIELD:
        case STATE_FILE:
                return take_content(m, data, size, used, err);
        case STATE_DELIMITER:
                return take_delimiter(m, data, size, used, err);
        case STATE_HEADERS:
                return take_headers(m, data, size, used, err);
        case STATE_EPILOGUE:
                *used = size;
                return 0;
        case STATE_FAILED:
                break;
        }
        return error_set(err, -EBADMSG, "the body was found malformed before");
}

/* See the header. */
int multipart_feed(struct multipart *m, const char *data, size_t size, struct error *err)
{
        while (size > 0) {
                size_t used = 0;
                int r = take(m, data, size, &used, err);

                if (r < 0) {
                        m->state = STATE_FAILED;
                        return r;
                }
                data += used;
                size -= used;
        }
        return 0;
}

/* See the header. */
int multipart_end(struct multipart *m, struct error *err)
{
        if (m->state == STATE_EPILOGUE)
                return 0;
        return error_set(err, -EBADMSG, "the body ends before its last boundary");
}
