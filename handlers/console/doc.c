/* SPDX-License-Identifier: Apache-2.0 */

/* What the route of the console's files answers. */

#include "agent/http/route_doc.h"
#include "handlers/console/console.h"

/* clang-format off */
static const struct route_header headers[] = {
        { "ETag", "Of this version of the file", "\"5f4dcc3b5aa765d6\"" },
        { 0 },
};

const struct route_doc console_file_get_doc = {
        .description = "Style sheets and programs of the page that browsers get at `/`. Only with the option `console`.",
        .replies = (const struct route_reply[]){
                { 200, "text/css; charset=utf-8", NULL, "The file", headers },
                { 200, "text/javascript; charset=utf-8", NULL, NULL },
                { 200, "text/html; charset=utf-8", NULL, NULL },
                { 304, NULL, NULL, "It is the one that If-None-Match names", headers },
                { 0 },
        },
        .problems = (const enum problem[]){ PROBLEM_NOT_FOUND, N_PROBLEMS },
        .headers = (const struct route_header[]){
                { "If-None-Match", "The ETag of the file that the client has", "\"5f4dcc3b5aa765d6\"" },
                { 0 },
        },
};
/* clang-format on */
