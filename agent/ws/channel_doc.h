/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The messages that every channel has, for the documents. */

#include "agent/json/field.h"
#include "agent/json/shape.h"

extern const struct shape channel_error_shape[];
extern const struct shape channel_pong_shape[];
/* Of messages that are a type and no more. */
extern const struct json_field channel_nothing_args[];

/* Rows of a table of struct route_message. */
#define CHANNEL_MESSAGES                                                                     \
        { .type = "ping", .args = channel_nothing_args, .doc = "Is anybody there?" },        \
                { .type = "pong", .body = channel_pong_shape, .doc = "The answer to ping" }, \
        {                                                                                    \
                .type = "error", .body = channel_error_shape,                                \
                .doc = "What is wrong, in the form of all errors"                            \
        }
