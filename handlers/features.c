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

/* clang-format off */

const struct shape features_shape[] = {
        S_BOOL("code_execution", .example = "true", .doc = "Run code (POST /execute)"),
        S_BOOL("command_execution", .example = "true", .doc = "Run commands (POST /commands/run)"),
        S_BOOL("file_operations", .example = "true", .doc = "Read, write and watch files (/files)"),
        S_BOOL("terminal_access", .example = "true", .doc = "Interactive shells (GET /terminal)"),
        S_BOOL("websocket_streaming", .example = "true", .doc = "Output while code runs (GET /execute/stream)"),
        S_BOOL("rich_output", .example = "true", .doc = "Pictures, tables and HTML that code displays"),
        S_BOOL("background_jobs", .example = "true", .doc = "Run code and commands in the background"),
        S_BOOL("ipython_kernel", .example = "false", .doc = "A kernel that keeps variables from call to call"),
        S_BOOL("system_metrics", .example = "true", .doc = "What the machine has, and how busy it is (GET /system)"),
        S_LIST("languages", S_ITEM(SHAPE_STRING), .example = "[\"python\", \"bash\"]",
               .doc = "In which code can be run here, now"),
        S_END
};

/* clang-format on */
