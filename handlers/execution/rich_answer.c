/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/execution/rich_answer.h"

#include <inttypes.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/json/document.h"

/* Quotes, colon and comma of a member. */
#define MEMBER_SIZE 4

#define MAX_KEYS 3

/* json_output and jsonOutput: what some clients call json. */
static const char *const keys[N_RICH_SINGLES][MAX_KEYS + 1] = {
        [RICH_PNG] = { "png" },
        [RICH_HTML] = { "html" },
        [RICH_JSON] = { "json", "json_output", "jsonOutput" },
        [RICH_SVG] = { "svg" },
        [RICH_MARKDOWN] = { "markdown" },
        [RICH_DATAFRAME] = { "dataframe" },
        [RICH_RESULT] = { "result" },
};

/* Takes @size bytes of what is left. */
static bool take(size_t *room, size_t size)
{
        if (size > *room)
                return false;
        *room -= size;
        return true;
}

static void choose_singles(struct rich_answer *a, size_t *room)
{
        struct document_piece data;

        for (int which = 0; which < N_RICH_SINGLES; which++) {
                size_t size = 0;

                if (!rich_single(a->rich, (enum rich_single)which, &data))
                        continue;
                for (const char *const *key = keys[which]; *key; key++)
                        size += strlen(*key) + MEMBER_SIZE + data.size;
                a->has_single[which] = take(room, size);
                a->is_truncated |= !a->has_single[which];
        }
}

static void add_piece(struct rich_answer *a, const char *data, size_t size)
{
        a->pieces[a->n_pieces++] = (struct document_piece){ data, size };
}

/* [a,b,c], as pieces. */
static void choose_outputs(struct rich_answer *a, size_t *room)
{
        size_t n_outputs = a->rich ? rich_count(a->rich) : 0;

        a->pieces = xcalloc(2 * n_outputs + 2, sizeof(*a->pieces));
        add_piece(a, "[", 1);
        for (size_t i = 0; i < n_outputs; i++) {
                struct document_piece text = rich_output(a->rich, i);

                if (!take(room, text.size + 1)) {
                        a->n_missing++;
                        continue;
                }
                if (a->n_pieces > 1)
                        add_piece(a, ",", 1);
                add_piece(a, text.data, text.size);
        }
        add_piece(a, "]", 1);
}

/* See the header. */
void rich_answer_init(struct rich_answer *a, const struct rich *r, size_t max)
{
        size_t before = max - MIN(max, (size_t)RICH_ANSWER_FIXED), room = before;

        *a = (struct rich_answer){ .rich = r };
        if (r) {
                a->n_missing = rich_dropped(r);
                choose_singles(a, &room);
        }
        choose_outputs(a, &room);
        a->is_truncated |= a->n_missing > 0;
        a->size = before - room;
}

/* See the header. */
void rich_answer_done(struct rich_answer *a)
{
        a->pieces = mem_free(a->pieces);
}

/* See the header. */
void rich_answer_describe(json_t *fields, const struct rich_answer *a)
{
        if (!a->is_truncated)
                return;
        json_object_set_new(fields, "rich_truncated", json_true());
        json_object_set_new(fields, "rich_dropped", json_integer((json_int_t)a->n_missing));
}

/* See the header. */
int rich_answer_write(struct buf *object, const struct rich_answer *a)
{
        if (!a->is_truncated)
                return 0;
        return buf_appendf(object, ",\"rich_truncated\":true,\"rich_dropped\":%" PRIu64,
                           a->n_missing);
}

/* See the header. */
void rich_answer_add(struct document *d, const struct rich_answer *a, void (*release)(void *arg),
                     void *arg)
{
        struct document_piece data;

        for (int which = 0; which < N_RICH_SINGLES; which++) {
                if (!a->has_single[which] || !rich_single(a->rich, (enum rich_single)which, &data))
                        continue;
                for (const char *const *key = keys[which]; *key; key++)
                        document_add_json(d, *key, &data, 1, NULL, NULL);
        }
        document_add_json(d, "rich_outputs", a->pieces, a->n_pieces, release, arg);
}
