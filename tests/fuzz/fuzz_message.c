/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as a message of a live channel: whatever comes, it is one of the table's messages with its arguments
 * within the fields' limits, or the type or a field is named and something printable is said. Two tables, as the
 * terminal and the streams have them. */

#include <errno.h>
#include <string.h>

#include "agent/base/utf8.h"
#include "agent/json/decode.h"
#include "agent/ws/channel.h"
#include "tests/fuzz/fuzz.h"

#define MAX_DATA  64
#define MAX_SIZE  1000
#define MAX_LINES 4

struct input_args {
        struct json_text data;
};

struct resize_args {
        uint64_t cols, rows;
};

struct run_args {
        struct json_text code;
        int language;
        uint64_t timeout_ms;
        const char *workdir;
        json_t *env, *args;
        bool is_quiet;
};

struct signal_args {
        const char *signal;
};

enum { LANGUAGE_A = 1, LANGUAGE_B };

static const struct enum_name languages[] = {
        { "python", LANGUAGE_A },
        { "bash", LANGUAGE_B },
        { NULL, 0 },
};

/* clang-format off */
static const struct json_field input_fields[] = {
        F_TEXT(struct input_args, data, .required = true, .max = MAX_DATA),
        F_END
};

static const struct json_field resize_fields[] = {
        F_UINT(struct resize_args, cols, .required = true, .min = 1, .max = MAX_SIZE),
        F_UINT(struct resize_args, rows, .required = true, .min = 1, .max = MAX_SIZE),
        F_END
};

static const struct json_field run_fields[] = {
        F_TEXT       (struct run_args, code, .alias = "command", .required = true, .min = 1, .max = MAX_DATA),
        F_ENUM       (struct run_args, language, .names = languages, .def = LANGUAGE_A),
        F_SECONDS    (struct run_args, timeout_ms, .name = "timeout", .min = 100, .max = 60000, .def = 60000),
        F_STRING     (struct run_args, workdir, .alias = "working_dir", .max = MAX_DATA),
        F_STRING_MAP (struct run_args, env, .environment = true, .max = MAX_LINES, .max_item = MAX_DATA),
        F_STRING_LIST(struct run_args, args, .max = MAX_LINES, .max_item = MAX_DATA),
        F_BOOL       (struct run_args, is_quiet, .name = "quiet"),
        F_END
};

static const struct json_field signal_fields[] = {
        F_STRING(struct signal_args, signal, .required = true, .min = 1, .max = MAX_DATA),
        F_END
};
/* clang-format on */

static void check_input(const struct input_args *a)
{
        MUST(a->data.data && a->data.size <= MAX_DATA);
        MUST(utf8_is_valid(a->data.data, a->data.size));
}

static void check_resize(const struct resize_args *a)
{
        MUST(a->cols >= 1 && a->cols <= MAX_SIZE);
        MUST(a->rows >= 1 && a->rows <= MAX_SIZE);
}

static void check_run(const struct run_args *a)
{
        const char *key;
        json_t *item;
        size_t index;

        MUST(a->code.size >= 1 && a->code.size <= MAX_DATA);
        MUST(a->language == LANGUAGE_A || a->language == LANGUAGE_B);
        MUST(a->timeout_ms >= 100 && a->timeout_ms <= 60000);
        MUST(!a->workdir || strlen(a->workdir) <= MAX_DATA);
        MUST(json_object_size(a->env) <= MAX_LINES);
        json_object_foreach(a->env, key, item) {
                MUST(key[0] && !strchr(key, '='));
                MUST(strlen(json_string_value(item)) == json_string_length(item));
        }
        MUST(json_array_size(a->args) <= MAX_LINES);
        json_array_foreach(a->args, index, item) {
                MUST(strlen(json_string_value(item)) == json_string_length(item));
                MUST(json_string_length(item) <= MAX_DATA);
        }
}

static void check_signal(const struct signal_args *a)
{
        MUST(a->signal && a->signal[0] && strlen(a->signal) <= MAX_DATA);
}

static void on_input(void *arg, const void *args)
{
        (void)arg;
        check_input(args);
}

static void on_resize(void *arg, const void *args)
{
        (void)arg;
        check_resize(args);
}

static void on_run(void *arg, const void *args)
{
        (void)arg;
        check_run(args);
}

static void on_signal(void *arg, const void *args)
{
        (void)arg;
        check_signal(args);
}

static void on_kill(void *arg, const void *args)
{
        (void)arg;
        MUST(!args);
}

static const struct message_type terminal_types[] = {
        { "input", input_fields, sizeof(struct input_args), on_input },
        { "resize", resize_fields, sizeof(struct resize_args), on_resize },
        { NULL, NULL, 0, NULL },
};

static const struct message_type stream_types[] = {
        { "execute", run_fields, sizeof(struct run_args), on_run },
        { "run", run_fields, sizeof(struct run_args), on_run },
        { "input", input_fields, sizeof(struct input_args), on_input },
        { "signal", signal_fields, sizeof(struct signal_args), on_signal },
        { "kill", NULL, 0, on_kill },
        { NULL, NULL, 0, NULL },
};

static const struct message_type no_types[] = {
        { NULL, NULL, 0, NULL },
};

static void check_error(int r, const struct error *err)
{
        size_t size = strlen(err->message);

        MUST(r == -EINVAL || r == -ENOKEY);
        MUST(err->code == r);
        MUST(size > 0);
        MUST(utf8_is_valid(err->message, size));
        MUST(err->field[0] == '/');
        MUST(utf8_is_valid(err->field, strlen(err->field)));
        for (size_t i = 0; i < size; i++)
                MUST((unsigned char)err->message[i] >= 0x20);
}

static void decode(const struct message_type *types, const char *data, size_t size)
{
        static const struct message_type untouched;
        const struct message_type *type = &untouched;
        struct error err = ERROR_INIT;
        json_t *message = NULL;
        void *args = &err;
        int r;

        if (json_parse_object(data, size, &message, &err) < 0)
                return;
        r = channel_decode(types, "type", message, &type, &args, &err);
        if (r < 0) {
                MUST(type == &untouched && args == &err);
                check_error(r, &err);
        } else {
                MUST(type >= types && type->name);
                MUST(strcmp(type->name, json_string_value(json_object_get(message, "type"))) == 0);
                MUST(!type->fields == !args);
                type->handle(NULL, args);
                free(args);
        }
        json_decref(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        decode(terminal_types, (const char *)data, size);
        decode(stream_types, (const char *)data, size);
        decode(no_types, (const char *)data, size);
        return 0;
}
