/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where the agent's own files are: beside the program when it runs from its build directory, else where they
 * were installed. */

/* Constants after the first call. */
const char *install_shim(void);
const char *install_driver_dir(void);
