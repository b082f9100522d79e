/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The console: a page with a terminal and a code runner, served to browsers when the option console is on. Its files
 * are embedded in the program; without them (or without the option) there is no page. */

#include <stdbool.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

/* Answers GET / with the page if it is wanted: the option is on and the client prefers HTML. False: it is not, and the
 * request is still owed an answer. */
bool console_reply(struct request *req);

/* GET /console/{file} */
struct console_file_args {
        const char *file;
};
extern const struct json_field console_file_args[];
int console_file_get(struct request *req);
extern const struct route_doc console_file_get_doc;
