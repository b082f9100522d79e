/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* unpack.h turned around: instead of asking for the archive it is given it, piece by piece, as it comes from the
 * client. Every call is a step on a worker thread, and a step is short, whatever a piece unpacks to. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/base/error.h"
#include "handlers/files/unpack.h"

struct unpack_steps_options {
        const struct roots *roots;
        const char *path;  /* of the directory, or NULL */
        uint64_t max_size; /* 0: no limit */
        const atomic_bool *cancel;
};

struct unpack_steps;

/* These return what unpack.h says, or -EAGAIN: there is more to do, by unpack_steps_resume. -EUSERS: too many archives
 * are being unpacked. After a failure only free is left. */
int unpack_steps_new(const struct unpack_steps_options *o, struct unpack_steps **ret,
                     struct error *err);
/* @data has to stay where it is until this, or resume, returns 0. */
int unpack_steps_feed(struct unpack_steps *s, const void *data, size_t size, struct error *err);
/* That was all: it is moved to @path, which stays where it is, too. */
int unpack_steps_finish(struct unpack_steps *s, const char *path, bool overwrite,
                        struct error *err);
int unpack_steps_resume(struct unpack_steps *s, struct error *err);

/* After finish. */
struct unpack_result unpack_steps_result(const struct unpack_steps *s);

/* Removes what is not complete. Returns NULL; harmless on NULL. */
struct unpack_steps *unpack_steps_free(struct unpack_steps *s);
