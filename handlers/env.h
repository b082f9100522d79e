/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* /env: the environment of all that is started. Answers show what a program would get; what clients set is a layer of
 * its own (proc/variables.h). */

#include <jansson.h>

#include "agent/json/field.h"

struct app;
struct request;
struct route_doc;

struct env_args {
        json_t *variables;
        const char *timestamp;
        bool merge;
};

struct env_key_args {
        const char *key;
};

extern const struct json_field env_args[];
extern const struct json_field env_key_args[];

/* What a program would get that is executed now, as GET /env shows it: an object of strings, a new reference. The
 * supervisor must still be there. */
json_t *env_describe(const struct app *app);

int env_get(struct request *req);
int env_put(struct request *req);
int env_patch(struct request *req);
int env_delete(struct request *req);
int env_key_delete(struct request *req);

extern const struct route_doc env_get_doc;
extern const struct route_doc env_put_doc;
extern const struct route_doc env_patch_doc;
extern const struct route_doc env_delete_doc;
extern const struct route_doc env_key_delete_doc;
