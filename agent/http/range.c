/* SPDX-License-Identifier: Apache-2.0 */

/* RFC 9110, section 13.2.2, in its order: If-Match or else If-Unmodified-Since, If-None-Match or else
 * If-Modified-Since, and then Range, if If-Range allows it. */

#include "agent/http/range.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <microhttpd.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/str.h"
#include "agent/http/header_value.h"
#include "agent/http/request_private.h"

/* --- the request's headers --- */

struct lines {
        const char *name;
        struct buf value;
        unsigned n;
};

static enum MHD_Result add_line(void *cls, enum MHD_ValueKind kind, const char *name,
                                const char *value)
{
        struct lines *l = cls;

        (void)kind;
        if (!str_equal_nocase(name, l->name))
                return MHD_YES;
        if (l->n++ > 0)
                (void)buf_append_str(&l->value, ", ");
        (void)buf_append_str(&l->value, value ? value : "");
        return MHD_YES;
}

static char *copy_header(const struct request *req, const char *name)
{
        struct lines l = { .name = name };
        size_t size;

        buf_init(&l.value, 0);
        MHD_get_connection_values(req->conn, MHD_HEADER_KIND, add_line, &l);
        if (l.n > 0 && !l.value.data)
                return xstrdup("");
        return l.n > 0 ? buf_steal(&l.value, &size) : NULL;
}

/* See the header. */
void range_copy_conditions(const struct request *req, struct range_conditions *ret)
{
        *ret = (struct range_conditions){ 0 };
        if (!req->conn)
                return;
        ret->is_get = str_equal(req->method, "GET");
        ret->range = copy_header(req, "Range");
        ret->if_range = copy_header(req, "If-Range");
        ret->if_match = copy_header(req, "If-Match");
        ret->if_none_match = copy_header(req, "If-None-Match");
        ret->if_modified_since = copy_header(req, "If-Modified-Since");
        ret->if_unmodified_since = copy_header(req, "If-Unmodified-Since");
}

/* See the header. */
void range_conditions_done(struct range_conditions *c)
{
        free(c->range);
        free(c->if_range);
        free(c->if_match);
        free(c->if_none_match);
        free(c->if_modified_since);
        free(c->if_unmodified_since);
        *c = (struct range_conditions){ 0 };
}

/* --- entity tags --- */

static const char *skip_blank(const char *s)
{
        return s + strspn(s, " \t");
}

static bool is_weak(const char *tag)
{
        return str_has_prefix(tag, "W/");
}

/* The size of the entity tag at @s, with W/ and quotes; 0: there is none. */
static size_t tag_size(const char *s)
{
        const char *p = is_weak(s) ? s + 2 : s;
        const char *end = *p == '"' ? strchr(p + 1, '"') : NULL;

        return end ? (size_t)(end + 1 - s) : 0;
}

static bool is_same_tag(const char *a, size_t size, const char *etag, bool strong)
{
        size_t skip_a = is_weak(a) ? 2 : 0, skip_b = is_weak(etag) ? 2 : 0;

        if (strong && (skip_a > 0 || skip_b > 0))
                return false;
        return size - skip_a == strlen(etag + skip_b) &&
               memcmp(a + skip_a, etag + skip_b, size - skip_a) == 0;
}

/* Whether the list @s names @etag, or anything by "*". What is malformed ends the list. */
static bool has_tag(const char *s, const char *etag, bool strong)
{
        s = skip_blank(s);
        if (*s == '*' && *skip_blank(s + 1) == '\0')
                return true;
        while (etag) {
                size_t size;

                while (*s == ',')
                        s = skip_blank(s + 1);
                size = tag_size(s);
                if (size == 0)
                        break;
                if (is_same_tag(s, size, etag, strong))
                        return true;
                s = skip_blank(s + size);
                if (*s != ',')
                        break;
        }
        return false;
}

/* --- conditions --- */

static bool knows_date(const struct range_file *f)
{
        return f->modified != INT64_MIN;
}

static bool is_modified_after(const struct range_file *f, const char *date, bool fallback)
{
        int64_t t;

        if (!knows_date(f) || http_date_parse(date, &t) < 0)
                return fallback;
        return f->modified > t;
}

static bool fails(const struct range_conditions *c, const struct range_file *f)
{
        if (c->if_match)
                return !has_tag(c->if_match, f->etag, true);
        return c->if_unmodified_since && is_modified_after(f, c->if_unmodified_since, false);
}

static bool is_known(const struct range_conditions *c, const struct range_file *f)
{
        if (c->if_none_match)
                return has_tag(c->if_none_match, f->etag, false);
        return c->if_modified_since && !is_modified_after(f, c->if_modified_since, true);
}

/* Of what a client has a part, is this the rest? A date says so only when nothing can have changed within its
 * second. */
static bool is_rest_of_same(const struct range_conditions *c, const struct range_file *f)
{
        const char *s = c->if_range ? skip_blank(c->if_range) : NULL;
        size_t size = s ? tag_size(s) : 0;
        int64_t t;

        if (!s)
                return true;
        if (size > 0)
                return *skip_blank(s + size) == '\0' && f->etag &&
                       is_same_tag(s, size, f->etag, true);
        return knows_date(f) && http_date_parse(s, &t) == 0 && t == f->modified &&
               f->now - f->modified >= 2;
}

/* --- ranges --- */

/* Digits at *p; false: none, and *ret is left alone. A number that is too large is a very large one. */
static bool read_position(const char **p, uint64_t *ret)
{
        const char *start = *p;
        uint64_t value = 0;

        for (; **p >= '0' && **p <= '9'; ++*p) {
                uint64_t digit = (uint64_t)(**p - '0');

                value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
        }
        if (*p == start)
                return false;
        *ret = value;
        return true;
}

/* "bytes=…" with a single range, which may have empty list elements around it. */
struct wanted {
        bool is_suffix;
        uint64_t first; /* or the size of a suffix */
        uint64_t last;
};

static bool read_range(const char *s, struct wanted *ret)
{
        if (strncasecmp(s, "bytes", 5) != 0)
                return false;
        s = skip_blank(s + 5);
        if (*s != '=')
                return false;
        s++;
        s += strspn(s, " \t,");
        *ret = (struct wanted){ .last = UINT64_MAX };
        if (*s == '-') {
                ret->is_suffix = true;
                s++;
                if (!read_position(&s, &ret->first))
                        return false;
        } else {
                if (!read_position(&s, &ret->first) || *s != '-')
                        return false;
                s++;
                if (read_position(&s, &ret->last) && ret->last < ret->first)
                        return false;
        }
        return s[strspn(s, " \t,")] == '\0'; /* else another range, or nonsense */
}

static void apply_range(const struct wanted *w, uint64_t size, struct range_decision *ret)
{
        uint64_t first = w->is_suffix ? size - MIN(w->first, size) : w->first;

        if ((w->is_suffix && w->first == 0) || (!w->is_suffix && first >= size)) {
                *ret = (struct range_decision){ .status = 416 };
                return;
        }
        if (size == 0) /* the last bytes of nothing: there is no 206 that says so */
                return;
        ret->status = 206;
        ret->offset = first;
        ret->size = (w->is_suffix ? size : MIN(w->last, size - 1) + 1) - first;
}

/* See the header. */
void range_decide(const struct range_conditions *c, const struct range_file *f,
                  struct range_decision *ret)
{
        struct wanted w;

        *ret = (struct range_decision){ .status = 200, .size = f->size };
        if (fails(c, f))
                *ret = (struct range_decision){ .status = 412 };
        else if (is_known(c, f))
                *ret = (struct range_decision){ .status = 304 };
        else if (c->is_get && c->range && is_rest_of_same(c, f) && read_range(c->range, &w))
                apply_range(&w, f->size, ret);
}

/* See the header. */
const char *range_content(const struct range_decision *d, uint64_t file_size,
                          char buf[static RANGE_CONTENT_SIZE])
{
        if (d->status == 206)
                snprintf(buf, RANGE_CONTENT_SIZE, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
                         d->offset, d->offset + d->size - 1, file_size);
        else
                snprintf(buf, RANGE_CONTENT_SIZE, "bytes */%" PRIu64, file_size);
        return buf;
}

/* See the header. */
const char *range_etag(const struct stat *st, int64_t now, char buf[static RANGE_ETAG_SIZE])
{
        bool is_fresh = now - st->st_mtim.tv_sec < 2 || now - st->st_ctim.tv_sec < 2;

        snprintf(buf, RANGE_ETAG_SIZE, "%s\"%llx-%llx-%llx.%lx-%llx.%lx\"", is_fresh ? "W/" : "",
                 (unsigned long long)st->st_ino, (unsigned long long)st->st_size,
                 (unsigned long long)st->st_mtim.tv_sec, (unsigned long)st->st_mtim.tv_nsec,
                 (unsigned long long)st->st_ctim.tv_sec, (unsigned long)st->st_ctim.tv_nsec);
        return buf;
}
