/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON that is written piece by piece into a buffer: for lists of so many rows that a tree of values would cost more
 * than everything else. What is put between the strings is the caller's. All return 0, -ENOMEM or -EFBIG. */

#include <stddef.h>

#include "agent/base/buf.h"

/* The inside of a string; see escape.h for what becomes of bytes that are not UTF-8. */
int json_write_escaped(struct buf *b, const char *text, size_t size);
/* A string, or null for NULL. */
int json_write_string(struct buf *b, const char *text);
/* ,"key":"text"; or null. @key needs no escaping. */
int json_write_member(struct buf *b, const char *key, const char *text);
