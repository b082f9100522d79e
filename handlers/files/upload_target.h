/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where an uploaded file of a form goes. It is written under a temporary name, for its path, mode and "may it
 * replace another" may come after it; then it gets its name, and what file_writer_commit would have given it. On worker
 * threads only; functions return 0, an outcome, or -EINVAL with the field to blame. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/error.h"
#include "agent/files/roots.h"

/* The path of a file that the client calls @filename (its directories do not count): @path, or in the directory @path
 * when it is one or ends with a slash, or in the workspace when it is NULL. *ret is a new string. */
int upload_target_name(const struct roots *roots, const char *path, const char *filename,
                       char **ret, bool *ret_is_inside, struct error *err);

/* A file that is being written, beside its place if that is known. Held by descriptors: whatever happens to names and
 * directories meanwhile, it is neither lost nor left behind. */
struct upload_stage;

/* For the file @path, whose missing directories are made; it is checked whether there may be one. Without a path, for
 * one somewhere: in the workspace. */
int upload_stage_new(const struct roots *roots, const char *path, bool overwrite,
                     struct upload_stage **ret, struct error *err);
/* Removes what was not published. Returns NULL; harmless on NULL. */
struct upload_stage *upload_stage_free(struct upload_stage *s);
DEFINE_CLEANUP(struct upload_stage *, upload_stage_free)

/* @path is what a failure is about. After one only free is left. */
int upload_stage_write(struct upload_stage *s, const void *data, size_t size, const char *path,
                       struct error *err);
uint64_t upload_stage_size(const struct upload_stage *s);

/* Gives the complete file the name @path, and @mode (or FILE_MODE_KEEP). Only free is left then. */
int upload_stage_publish(struct upload_stage *s, const char *path, int mode, bool overwrite,
                         const atomic_bool *cancel, bool *ret_is_created, struct error *err);
