/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Turns a bare piece of Go into a file that compiles. */

#include "agent/base/buf.h"

/* Appends to @ret the file for @code: the code itself when it has a package clause, else a package main around
 * it, with the well-known imports that it uses but does not name. Compiler messages keep the line numbers of
 * @code and call it main.go. Returns 0 or what buf_append returns. */
int go_snippet_complete(const char *code, size_t size, struct buf *ret);
