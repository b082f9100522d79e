/* SPDX-License-Identifier: Apache-2.0 */

/* POST /execute: one piece of source, one fresh process. */

#include "handlers/execution/execute.h"

#include <stdlib.h>

#include "agent/base/limits.h"
#include "agent/http/request.h"

/* clang-format off */
const struct json_field execute_args[] = {
        F_TEXT(struct execute_args, code, .required = true, .max = LIMIT_CODE_BYTES, .doc = "Source text"),
        F_ENUM(struct execute_args, language, .names = language_names, .def = LANGUAGE_PYTHON, .doc = "Language"),
        EXECUTION_FIELDS(struct execute_args, 60),
        F_END
};
/* clang-format on */

/* The PATH that the program will see decides which interpreter there is. */
static const char *path_of(const struct execute_args *args)
{
        const char *requested = json_string_value(json_object_get(args->run.env, "PATH"));

        return requested ? requested : getenv("PATH");
}

/* Answers POST /execute. */
int execute_post(struct request *req)
{
        const struct execute_args *args = request_args(req);
        enum language language = (enum language)args->language;
        const char *missing = NULL;

        if (!runtime_is_available(language, path_of(args), &missing))
                return request_fail_field(
                        req, PROBLEM_RUNTIME_NOT_AVAILABLE, "/language",
                        "language: %s needs '%s', which is not in the PATH of this execution; "
                        "install it, or add it to the image",
                        language_name(language), missing);

        return execution_start(req, &(struct execution_spec){
                                            .args = &args->run,
                                            .code = &args->code,
                                            .language = language,
                                            .size_field = "/env",
                                            .program_field = "/language",
                                            .label_name = "language",
                                            .label = language_name(language),
                                    });
}
