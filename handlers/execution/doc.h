/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What answers about executions have in common, for the documents; background jobs say it, too. */

#include "agent/http/route_doc.h"

/* Members of `usage`. */
extern const struct shape usage_shape[];
/* One thing that code displayed. */
extern const struct shape rich_output_shape[];

/* How an execution ended: values of `reason`. */
extern const struct enum_name execution_reason_names[];
/* Values of `encoding`. */
extern const struct enum_name execution_encoding_names[];

/* clang-format off */
/* Members of rich output beside others. */
#define RICH_MEMBERS                                                                                \
        S_LIST("rich_outputs", S_ITEM_OF(SHAPE_OBJECT, rich_output_shape), .optional = true,        \
               .doc = "What the code displayed, in order; commands have none"),                     \
        S_STRING("png", .optional = true, .doc = "The last picture that it displayed, in base64",   \
                 .example = "\"iVBORw0KGgo=\""),                                                    \
        S_STRING("html", .optional = true, .doc = "The last HTML", .example = "\"<b>42</b>\""),     \
        S_ANY("json", .optional = true, .doc = "The last JSON", .example = "{\"answer\":42}"),      \
        S_ANY("json_output", .optional = true, .doc = "The same", .example = "{\"answer\":42}"),    \
        S_ANY("jsonOutput", .optional = true, .doc = "The same", .example = "{\"answer\":42}"),     \
        S_STRING("svg", .optional = true, .doc = "The last vector graphic",                         \
                 .example = "\"<svg xmlns='http://www.w3.org/2000/svg'/>\""),                       \
        S_STRING("markdown", .optional = true, .doc = "The last Markdown",                          \
                 .example = "\"**42**\""),                                                          \
        S_ANY("dataframe", .optional = true, .doc = "The last table", .example = "{\"rows\":[]}"),  \
        S_ANY("result", .optional = true, .doc = "Value of the last expression, as text",           \
              .example = "\"42\""),                                                                 \
        S_BOOL("rich_truncated", .optional = true,                                                  \
               .doc = "Something that was displayed is not here; absent otherwise"),                \
        S_INTEGER("rich_dropped", .optional = true,                                                 \
                  .doc = "Number of outputs that are missing in rich_outputs", .example = "3")
/* clang-format on */
