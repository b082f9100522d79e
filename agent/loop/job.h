/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Work for the thread pool. @run runs on a worker thread and may use only what @job points to (and libc): no
 * request, no handle, nothing that the loop's thread owns. @done runs back on the loop; it owns @job again.
 * There is no cancelling: who loses interest says so in its own object, and frees in @done. */

#include "agent/loop/loop.h"

int job_run(struct loop *l, void *job, void (*run)(void *job), void (*done)(void *job));
