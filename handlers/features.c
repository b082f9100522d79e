/* SPDX-License-Identifier: Apache-2.0 */

/* The feature list. An entry turns true in the commit that makes it work. */

#include "handlers/features.h"

#include <stdlib.h>

#include "agent/app.h"
#include "agent/base/clock.h"
#include "proc/runtime.h"

static json_t *available_languages(void)
{
        const char *path = getenv("PATH"), *missing;
        json_t *languages = json_array();

        for (int l = 0; l < N_LANGUAGES; l++)
                if (runtime_is_available((enum language)l, path, &missing))
                        json_array_append_new(languages,
                                              json_string(language_name((enum language)l)));
        return languages;
}

/* See the header. */
json_t *features_describe(void)
{
        return json_pack("{s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:o}",              //
                         "code_execution", 1, "command_execution", 1, "file_operations", 1, //
                         "terminal_access", 1, "websocket_streaming", 1, "rich_output", 1,  //
                         "background_jobs", 1, "ipython_kernel", 0, "system_metrics", 1,
                         "languages", //
                         available_languages());
}

/* Whole seconds since the agent started. */
uint64_t features_uptime_s(const struct app *app)
{
        return (clock_now_ms() - app->metrics.started_ms) / 1000;
}
