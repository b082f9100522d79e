/* SPDX-License-Identifier: Apache-2.0 */

/* POST /execute: one piece of source, one fresh process. */

#include "handlers/execution/execute.h"

#include <stdlib.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/http/request.h"
#include "proc/environment.h"
#include "proc/runtime.h"
#include "proc/supervisor.h"

/* clang-format off */
const struct json_field execute_args[] = {
        F_TEXT(struct execute_args, code, .required = true, .max = LIMIT_CODE_BYTES, .doc = "Source text"),
        F_ENUM(struct execute_args, language, .names = language_names, .def = LANGUAGE_PYTHON, .doc = "Language"),
        EXECUTION_FIELDS(struct execute_args, 60),
        F_END
};
/* clang-format on */

/* The PATH that the program will see decides which interpreter there is. */
static bool language_is_available(struct request *req, const struct execute_args *args,
                                  const char **ret_missing)
{
        const json_t *requested = args->run.env ? json_object_get(args->run.env, "PATH") : NULL;
        const char *path = requested ? json_string_value(requested) : getenv("PATH");

        (void)req;
        return runtime_is_available((enum language)args->language, path, ret_missing);
}

/* Answers POST /execute. */
int execute_post(struct request *req)
{
        const struct execute_args *args = request_args(req);
        const struct app *app = request_app(req);
        enum language language = (enum language)args->language;
        CLEANUP(mem_free) char *cwd = NULL;
        struct script *script = NULL;
        struct error err = ERROR_INIT;
        const char *missing = NULL;
        int r;

        if (!language_is_available(req, args, &missing))
                return request_fail_field(
                        req, PROBLEM_RUNTIME_NOT_AVAILABLE, "/language",
                        "language: %s needs '%s', which is not in PATH on this machine; "
                        "install it or add it to the image",
                        language_name(language), missing);
        cwd = execution_cwd(req, &args->run);
        if (!cwd)
                return 0;

        r = script_new(language, args->code.data, args->code.size,
                       supervisor_runtime_dir(app->supervisor), app->driver_dir,
                       supervisor_user(app->supervisor), cwd, &script, &err);
        if (r < 0)
                return request_fail(req, PROBLEM_INTERNAL, "the code could not be stored: %s",
                                    err.message);

        return execution_start(req, &(struct execution_spec){
                                            .args = &args->run,
                                            .argv = script->argv,
                                            .extra_env = script->extra_env,
                                            .cwd = cwd,
                                            .script = script,
                                            .size_field = "/env",
                                            .program_field = "/language",
                                            .label_name = "language",
                                            .label = language_name(language),
                                    });
}
