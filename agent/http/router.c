/* SPDX-License-Identifier: Apache-2.0 */

/* Matching by path: rows without parameters are found by binary search, the few with parameters are tried in
 * table order, segment by segment. Nothing is copied; parameters point into the request's path. */

#include "agent/http/router.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"
#include "agent/base/str.h"

struct router {
        const struct route **exact; /* sorted by path */
        size_t n_exact;
        const struct route **patterns;
        size_t n_patterns;
};

static const char *const method_names[N_HTTP_METHODS] = {
        [HTTP_GET] = "GET",     [HTTP_POST] = "POST",     [HTTP_PUT] = "PUT",
        [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
};

/* The method's name on the wire, a constant. */
const char *http_method_name(enum http_method m)
{
        assert(m < N_HTTP_METHODS);
        return method_names[m];
}

static bool method_matches(enum http_method m, const char *name)
{
        return str_equal(name, method_names[m]) || (m == HTTP_GET && str_equal(name, "HEAD"));
}

static int compare_paths(const void *a, const void *b)
{
        const struct route *const *x = a, *const *y = b;

        return strcmp((*x)->path, (*y)->path);
}

/* The length of the segment at @s, which is behind a slash. */
static size_t segment_size(const char *s)
{
        return strcspn(s, "/");
}

static bool is_parameter(const char *segment, size_t size)
{
        return size > 2 && segment[0] == '{' && segment[size - 1] == '}';
}

static bool pattern_matches(const struct route *route, const char *path, struct route_match *ret)
{
        const char *p = route->path, *s = path;

        ret->n_parameters = 0;
        while (*p == '/' && *s == '/') {
                size_t p_size = segment_size(++p), s_size = segment_size(++s);

                if (is_parameter(p, p_size)) {
                        if (s_size == 0)
                                return false;
                        ret->parameters[ret->n_parameters].name = p + 1;
                        ret->parameters[ret->n_parameters].name_size = p_size - 2;
                        ret->parameters[ret->n_parameters].value = s;
                        ret->parameters[ret->n_parameters++].value_size = s_size;
                } else if (p_size != s_size || memcmp(p, s, p_size) != 0) {
                        return false;
                }
                p += p_size;
                s += s_size;
        }
        return *p == '\0' && *s == '\0';
}

static bool has_parameters(const struct route *route)
{
        return strchr(route->path, '{') != NULL;
}

static unsigned count_parameters(const struct route *route)
{
        unsigned n = 0;

        for (const char *p = route->path; (p = strchr(p, '{')); p++)
                n++;
        return n;
}

static int check_rows(const struct route *routes, size_t n, struct error *err)
{
        for (size_t i = 0; i < n; i++) {
                if (routes[i].path[0] != '/' || count_parameters(&routes[i]) > ROUTE_MAX_PARAMETERS)
                        return error_set(err, -EINVAL, "route '%s'", routes[i].path);
                for (size_t k = 0; k < i; k++)
                        if (routes[i].method == routes[k].method &&
                            str_equal(routes[i].path, routes[k].path))
                                return error_set(err, -EEXIST, "route '%s %s'",
                                                 http_method_name(routes[i].method),
                                                 routes[i].path);
        }
        return 0;
}

/* Builds the index; see the header. */
int router_new(const struct route *routes, size_t n, struct router **ret, struct error *err)
{
        struct router *r;
        int e;

        e = check_rows(routes, n, err);
        if (e < 0)
                return e;

        r = xnew(struct router);
        r->exact = xcalloc(n, sizeof(*r->exact));
        r->patterns = xcalloc(n, sizeof(*r->patterns));
        for (size_t i = 0; i < n; i++) {
                if (has_parameters(&routes[i]))
                        r->patterns[r->n_patterns++] = &routes[i];
                else
                        r->exact[r->n_exact++] = &routes[i];
        }
        qsort(r->exact, r->n_exact, sizeof(*r->exact), compare_paths);
        *ret = r;
        return 0;
}

/* Frees the index, not the table. */
struct router *router_free(struct router *r)
{
        if (!r)
                return NULL;
        free(r->exact);
        free(r->patterns);
        free(r);
        return NULL;
}

/* The first row with @path, or n_exact. */
static size_t find_exact(const struct router *r, const char *path)
{
        size_t low = 0, high = r->n_exact;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (strcmp(r->exact[middle]->path, path) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* Takes the row if the method fits, else remembers which method would. True when it was taken. */
static bool try_row(const struct route *row, const char *method, struct route_match *ret)
{
        if (method_matches(row->method, method)) {
                ret->route = row;
                return true;
        }
        ret->allowed[ret->n_allowed++] = row->method;
        return false;
}

/* Finds the row for a request; see struct route_match. */
void router_match(const struct router *r, const char *method, const char *path,
                  struct route_match *ret)
{
        memset(ret, 0, sizeof(*ret));

        for (size_t i = find_exact(r, path); i < r->n_exact && str_equal(r->exact[i]->path, path);
             i++)
                if (try_row(r->exact[i], method, ret))
                        return;
        if (ret->n_allowed > 0)
                return;

        for (size_t i = 0; i < r->n_patterns; i++)
                if (pattern_matches(r->patterns[i], path, ret) &&
                    try_row(r->patterns[i], method, ret))
                        return;
        ret->n_parameters = 0;
}
