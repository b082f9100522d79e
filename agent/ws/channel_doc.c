/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/ws/channel_doc.h"

/* clang-format off */
const struct json_field channel_nothing_args[] = { F_END };

const struct shape channel_pong_shape[] = {
        S_TIME("timestamp"),
        S_END
};

static const struct shape details_shape[] = {
        S_STRING("field", .optional = true, .doc = "A JSON pointer to what is wrong", .example = "\"/data\""),
        S_STRING("path", .optional = true, .doc = "The file that it is about", .example = "\"/workspace/src\""),
        S_END
};

const struct shape channel_error_shape[] = {
        S_STRING("error", .doc = "What is wrong, for people", .example = "\"data: required\""),
        S_STRING("message", .doc = "The same sentence", .example = "\"data: required\""),
        S_STRING("code", .doc = "As in all errors", .example = "\"MISSING_PARAMETER\""),
        S_STRING("request_id", .doc = "Of the connection", .example = "\"req_0b5d9d3f\""),
        S_TIME  ("timestamp"),
        S_OBJECT("details", details_shape, .optional = true, .doc = "More for programs"),
        S_STRING("path", .optional = true, .doc = "The file that it is about", .example = "\"/workspace/src\""),
        S_END
};
/* clang-format on */
