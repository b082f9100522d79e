/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a worker thread makes reaches the loop piece by piece, while the job that makes it still runs. One job at a time
 * may push. */

#include <stdbool.h>
#include <stddef.h>

struct feed;
struct loop;

/* @on_data(@arg) is called on the loop some time after a push, and may look at what the worker wrote before that. */
struct feed *feed_new(struct loop *l, void (*on_data)(void *arg), void *arg);
/* On the loop, when no job can push any more: what was not taken is lost, and on_data is not called again. Returns
 * NULL. */
struct feed *feed_free(struct feed *f);

/* On the worker. Takes @data, to be freed with free. Returns how many bytes wait, these included: the worker decides
 * what is too much. */
size_t feed_push(struct feed *f, char *data, size_t size);

/* On the loop: the oldest piece, which is the caller's, or NULL. */
char *feed_pop(struct feed *f, size_t *ret_size);
