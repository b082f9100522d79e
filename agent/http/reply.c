/* SPDX-License-Identifier: Apache-2.0 */

/* Answers as data: nothing here knows the HTTP library. */

#include "agent/http/reply.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/limits.h"
#include "agent/json/document.h"

#define TYPE_JSON "application/json"

struct reply_bytes {
        unsigned refs;
        char *data;
};

/* See the header. */
struct reply_bytes *reply_bytes_ref(struct reply_bytes *b)
{
        b->refs++;
        return b;
}

/* See the header. */
struct reply_bytes *reply_bytes_unref(struct reply_bytes *b)
{
        if (b && --b->refs == 0) {
                free(b->data);
                free(b);
        }
        return NULL;
}

static void drop_payload(struct reply *r)
{
        if (r->shared)
                r->data = NULL;
        r->shared = reply_bytes_unref(r->shared);
        r->data = mem_free(r->data);
        r->size = 0;
        r->position = 0;
        r->document = document_free(r->document);
}

/* See the header. */
void reply_done(struct reply *r)
{
        drop_payload(r);
        for (unsigned i = 0; i < r->n_headers; i++)
                free(r->headers[i].value);
        memset(r, 0, sizeof(*r));
}

/* See the header. */
void reply_add_header(struct reply *r, const char *name, const char *value)
{
        assert(r->n_headers < REPLY_MAX_HEADERS);
        r->headers[r->n_headers].name = name;
        r->headers[r->n_headers++].value = xstrdup(value);
}

/* See the header. */
void reply_add_headers(struct reply *r, const struct reply *from)
{
        for (unsigned i = 0; i < from->n_headers; i++)
                reply_add_header(r, from->headers[i].name, from->headers[i].value);
}

/* Sets @size bytes at @data (from malloc; takes them) as the body. */
void reply_set_bytes(struct reply *r, unsigned status, const char *type, char *data, size_t size)
{
        drop_payload(r);
        r->is_set = true;
        r->status = status;
        r->type = type;
        r->data = data;
        r->size = size;
}

/* Sets @body (takes it) as the body. Only for small documents: it is encoded at once. */
void reply_set_json(struct reply *r, unsigned status, json_t *body)
{
        char *text = body ? json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;

        /* NULL: out of memory, or a handler's bug; either way the client must not get half a document. */
        if (!text) {
                status = 500;
                text = xstrdup(
                        "{\"error\":\"the answer could not be encoded\",\"code\":\"INTERNAL_ERROR\"}");
        }
        json_decref(body);
        reply_set_bytes(r, status, TYPE_JSON, text, strlen(text));
}

static bool flatten(struct document *d, char **ret, size_t *ret_size)
{
        CLEANUP(buf_done) struct buf b;
        char piece[4 * KIB];
        size_t n;

        buf_init(&b, 0);
        while ((n = document_read(d, piece, sizeof(piece))) > 0)
                if (buf_append(&b, piece, n) < 0)
                        return false;
        *ret = buf_steal(&b, ret_size);
        return true;
}

/* See the header; takes @body. */
void reply_set_document(struct reply *r, unsigned status, struct document *body)
{
        char *text;
        size_t size;

        drop_payload(r);
        if (document_text_size(body) <= LIMIT_REPLY_INLINE) {
                bool ok = flatten(body, &text, &size);

                document_free(body);
                if (ok)
                        reply_set_bytes(r, status, TYPE_JSON, text, size);
                else
                        reply_set_json(r, status, NULL);
                return;
        }
        r->is_set = true;
        r->status = status;
        r->type = TYPE_JSON;
        r->document = body;
}

/* See the header; takes @head and @body. */
void reply_set_begun_document(struct reply *r, unsigned status, char *head, size_t size,
                              struct document *body)
{
        reply_set_bytes(r, status, TYPE_JSON, head, size);
        r->document = body;
}

/* See the header. */
void reply_share(struct reply *from, struct reply *to)
{
        assert(from->is_set && !from->document);
        if (!from->shared) {
                from->shared = xnew(struct reply_bytes);
                from->shared->refs = 1;
                from->shared->data = from->data;
        }
        reply_set_bytes(to, from->status, from->type, from->data, from->size);
        to->shared = reply_bytes_ref(from->shared);
        reply_add_headers(to, from);
}

/* See the header. */
size_t reply_read(struct reply *r, char *dst, size_t size)
{
        size_t n = MIN(size, r->size - r->position);

        if (n == 0)
                return r->document ? document_read(r->document, dst, size) : 0;
        memcpy(dst, r->data + r->position, n);
        r->position += n;
        return n;
}
