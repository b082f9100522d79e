/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/base/error.h"

/* Where the agent's own files are: beside the program when it runs from its build directory, else where they
 * were installed. */

/* -ENOENT and the like, naming the file, when something is missing without which no execution can start. */
int install_check(struct error *err);

/* Constants after the first call. */
const char *install_shim(void);
const char *install_keeper(void);
const char *install_driver_dir(void);
