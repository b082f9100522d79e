/* SPDX-License-Identifier: Apache-2.0 */

/* POST /execute: one piece of source, one fresh process. */

#include "handlers/execution/execute.h"

#include "agent/base/limits.h"
#include "agent/http/request.h"
#include "handlers/execution/execution.h"
#include "handlers/execution/run.h"

/* clang-format off */
const struct json_field execute_args[] = {
        F_TEXT(struct execute_args, code, .required = true, .max = LIMIT_CODE_BYTES, .doc = "Source text"),
        F_ENUM(struct execute_args, language, .names = language_names, .def = LANGUAGE_PYTHON, .doc = "Language"),
        EXECUTION_FIELDS(struct execute_args, run, 60, 1),
        CACHE_FIELDS(struct execute_args, cache),
        F_END
};
/* clang-format on */

/* See the header. */
struct run_spec execute_spec(const struct execute_args *args)
{
        return (struct run_spec){
                .args = &args->run,
                .cache = &args->cache,
                .code = &args->code,
                .language = (enum language)args->language,
                .may_be_rich = true,
                .size_field = "/env",
                .program_field = "/language",
        };
}

/* Answers POST /execute. */
int execute_post(struct request *req)
{
        const struct execute_args *args = request_args(req);
        struct run_spec spec = execute_spec(args);

        return execution_start(req, &spec, "language", language_name(spec.language));
}
