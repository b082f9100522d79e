/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a request body, and any bytes as each parameter of the query: whatever comes, the
 * decoder either fills the struct within the table's limits, or names a field and says something
 * printable. */

#include <errno.h>
#include <string.h>

#include "agent/base/buf.h"
#include "agent/base/utf8.h"
#include "agent/json/decode.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/sample_fields.h"

static void check_error(int r, const struct error *err)
{
        size_t size = strlen(err->message);

        MUST(r == -EINVAL || r == -ENOKEY);
        MUST(err->code == r);
        MUST(size > 0);
        MUST(utf8_is_valid(err->message, size));
        MUST(utf8_is_valid(err->field, strlen(err->field)));
        MUST(err->field[0] == '\0' || err->field[0] == '/');
        for (size_t i = 0; i < size; i++)
                MUST((unsigned char)err->message[i] >= 0x20);
}

static void check_items(json_t *items)
{
        const char *key;
        json_t *item;
        size_t index;

        json_object_foreach(items, key, item) {
                MUST(json_is_string(item));
                MUST(strlen(key) + 1 + json_string_length(item) <= 64);
                MUST(strlen(json_string_value(item)) == json_string_length(item));
        }
        json_array_foreach(items, index, item) {
                MUST(json_is_string(item) && json_string_length(item) <= 16);
                MUST(strlen(json_string_value(item)) == json_string_length(item));
        }
}

static void check_args(const struct sample_args *args)
{
        MUST(args->code.size >= 1 && args->code.size <= 1000);
        MUST(args->language >= SAMPLE_PYTHON && args->language <= SAMPLE_GO);
        MUST(args->timeout_ms >= 1000 && args->timeout_ms <= 3600000);
        MUST(args->timeout_is_set || args->timeout_ms == 30000);
        MUST(strlen(args->workdir) <= 64);
        MUST(!args->env || (json_is_object(args->env) && json_object_size(args->env) <= 4));
        MUST(!args->args || (json_is_array(args->args) && json_array_size(args->args) <= 4));
        check_items(args->env);
        check_items(args->args);
        MUST(args->input.size <= 64);
        MUST(args->max_output >= 1 && args->max_output <= 1048576);
        MUST(args->background_is_set || args->background);
        MUST(!args->id || strlen(args->id) <= 16);
        MUST(!args->filter || utf8_is_valid(args->filter, strlen(args->filter)));
}

static bool lookup(void *arg, enum field_in in, const char *name, const char **ret,
                   size_t *ret_size)
{
        const struct buf *text = arg;

        (void)in;
        (void)name;
        *ret = text->data;
        *ret_size = text->size;
        return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct error err = ERROR_INIT;
        json_t *body = NULL;
        struct buf text;
        int r;

        r = json_parse_object((const char *)data, size, &body, &err);
        if (r < 0) {
                MUST(!body);
                MUST(err.field[0] == '\0');
                check_error(r, &err);
        } else {
                struct json_source src = { .body = body };
                struct sample_args args;

                r = json_decode(sample_fields, &src, &args, sizeof(args), &err);
                if (r < 0)
                        check_error(r, &err);
                else
                        check_args(&args);
                json_decref(body);
        }

        /* Each field of the query alone, because the first bad one would hide the others. */
        buf_init(&text, 0);
        MUST(buf_reserve(&text, size) == 0);
        MUST(buf_append(&text, data, size) == 0);
        for (const struct json_field *f = sample_fields; f->type != JSON_FIELD_END; f++) {
                struct json_field one[] = { *f, F_END };
                struct json_source src = { .lookup = lookup, .arg = &text };
                struct sample_args args;

                if (f->in == IN_BODY)
                        continue;
                r = json_decode(one, &src, &args, sizeof(args), &err);
                if (r < 0)
                        check_error(r, &err);
                else
                        MUST(args.wait_ms == 0 || args.wait_ms >= 500);
        }
        buf_done(&text);
        return 0;
}
