/* SPDX-License-Identifier: Apache-2.0 */

/* POST /commands/run. With "args" the command is a program and is executed as it is; without, it is a line that
 * the shell reads. */

#include "handlers/execution/commands.h"

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/http/request.h"
#include "handlers/execution/execution.h"
#include "handlers/execution/run.h"

/* clang-format off */
const struct json_field commands_args[] = {
        F_STRING     (struct commands_args, command, .required = true, .min = 1, .max = LIMIT_ARG_BYTES,
                      .doc = "A program, or without args a line for /bin/sh"),
        F_STRING_LIST(struct commands_args, args, .max = LIMIT_ARGS, .max_item = LIMIT_ARG_BYTES,
                      .doc = "The program's arguments"),
        EXECUTION_FIELDS(struct commands_args, run, 30, 1),
        F_END
};
/* clang-format on */

/* A NULL-terminated array that borrows its strings from the arguments. */
static char **make_argv(const struct commands_args *args)
{
        size_t n = json_array_size(args->args);
        char **argv = xcalloc(n + 4, sizeof(*argv));
        size_t i = 0;

        if (!args->args) {
                argv[0] = (char *)"/bin/sh";
                argv[1] = (char *)"-c";
                argv[2] = (char *)args->command;
                return argv;
        }
        argv[i++] = (char *)args->command;
        for (size_t k = 0; k < n; k++)
                argv[i++] = (char *)json_string_value(json_array_get(args->args, k));
        return argv;
}

/* See the header. */
struct run_spec commands_spec(const struct commands_args *args)
{
        return (struct run_spec){
                .args = &args->run,
                .argv = make_argv(args),
                .size_field = args->args ? "/args" : "/command",
                .program_field = "/command",
        };
}

/* Answers POST /commands/run. */
int commands_run_post(struct request *req)
{
        const struct commands_args *args = request_args(req);
        struct run_spec spec = commands_spec(args);

        return execution_start(req, &spec, "command", args->command);
}
