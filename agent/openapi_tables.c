/* SPDX-License-Identifier: Apache-2.0 */

/* Which tables of answers deserve a name. Tables have none in C, so they get that of the place where they are found
 * first: in the answer of GET /files/stat it is FilesStat, and in the member "owner" of that, FilesStatOwner. */

#include "agent/openapi_private.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/str.h"

struct entry {
        const struct shape *table;
        char *name;
        char *reference;
        unsigned n_uses;
};

struct openapi_tables {
        struct entry *entries;
        size_t n;
};

/* See the header. */
char *openapi_camel(const char *text)
{
        char *camel = xcalloc(1, strlen(text) + 1);
        bool is_first = true;
        size_t n = 0;

        for (const char *p = text; *p; p++) {
                if (isalnum((unsigned char)*p))
                        camel[n++] = is_first ? (char)toupper((unsigned char)*p) : *p;
                is_first = !isalnum((unsigned char)*p);
        }
        return camel;
}

static struct entry *find(const struct openapi_tables *t, const struct shape *table)
{
        for (size_t i = 0; i < t->n; i++)
                if (t->entries[i].table == table)
                        return &t->entries[i];
        return NULL;
}

static bool is_taken(const struct openapi_tables *t, const char *name)
{
        for (size_t i = 0; i < t->n; i++)
                if (str_equal(t->entries[i].name, name))
                        return true;
        return false;
}

static char *unique_name(const struct openapi_tables *t, const char *wanted)
{
        char *name = xstrdup(wanted);

        for (unsigned i = 2; is_taken(t, name); i++) {
                free(name);
                name = xasprintf("%s%u", wanted, i);
        }
        return name;
}

static void add(struct openapi_tables *t, const struct shape *table, const char *wanted)
{
        struct entry *e;

        t->entries = xrealloc_array(t->entries, t->n + 1, sizeof(*t->entries));
        e = &t->entries[t->n];
        e->table = table;
        e->name = unique_name(t, wanted);
        e->reference = xasprintf(OPENAPI_SCHEMAS "%s", e->name);
        e->n_uses = 1;
        t->n++;
}

static void visit(struct openapi_tables *t, const struct shape *table, const char *name);

/* An item of a list has no name of its own. */
static void visit_member(struct openapi_tables *t, const struct shape *s, const char *name)
{
        while (s && (s->type == SHAPE_LIST || s->type == SHAPE_MAP))
                s = s->of;
        if (s && s->type == SHAPE_OBJECT)
                visit(t, s->of, name);
}

static void visit(struct openapi_tables *t, const struct shape *table, const char *name)
{
        struct entry *e = find(t, table);

        if (e) {
                e->n_uses++;
                return;
        }
        if (table->type == SHAPE_END)
                return;
        add(t, table, name);
        for (const struct shape *s = table; s->type != SHAPE_END; s++) {
                CLEANUP(mem_free) char *member = openapi_camel(s->name);
                CLEANUP(mem_free) char *full = xasprintf("%s%s", name, member);

                visit_member(t, s, full);
        }
}

static void visit_route(struct openapi_tables *t, const struct route *r)
{
        CLEANUP(mem_free) char *place = openapi_camel(r->path[1] ? r->path : "Root");

        for (const struct route_reply *a = r->doc->replies; a && a->status; a++)
                if (a->body)
                        visit(t, a->body, place);
        for (const struct route_message *m = r->doc->messages; m && m->type; m++) {
                CLEANUP(mem_free) char *type = openapi_camel(m->type);
                CLEANUP(mem_free) char *name = xasprintf("%s%s", place, type);

                if (m->body)
                        visit(t, m->body, name);
        }
}

/* See the header. */
struct openapi_tables *openapi_tables_new(const struct route *routes, size_t n)
{
        struct openapi_tables *t = xnew(struct openapi_tables);

        for (size_t i = 0; i < n; i++)
                if (routes[i].doc)
                        visit_route(t, &routes[i]);
        return t;
}

/* See the header. */
struct openapi_tables *openapi_tables_free(struct openapi_tables *t)
{
        if (!t)
                return NULL;
        for (size_t i = 0; i < t->n; i++) {
                free(t->entries[i].name);
                free(t->entries[i].reference);
        }
        free(t->entries);
        free(t);
        return NULL;
}

static const char *find_reference(void *arg, const struct shape *table)
{
        const struct entry *e = find(arg, table);

        return e && e->n_uses > 1 ? e->reference : NULL;
}

/* See the header. */
struct schema_names openapi_tables_names(struct openapi_tables *t)
{
        return (struct schema_names){ .find = find_reference, .arg = t };
}

/* See the header. */
void openapi_tables_describe(struct openapi_tables *t, json_t *schemas)
{
        struct schema_names names = openapi_tables_names(t);

        for (size_t i = 0; i < t->n; i++)
                if (t->entries[i].n_uses > 1)
                        json_object_set_new(schemas, t->entries[i].name,
                                            schema_of_shape(t->entries[i].table, &names));
}
