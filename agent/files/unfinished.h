/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The journal of temporary names (files/temporary.h): what an agent that is killed leaves behind, its successor finds
 * without looking for it. A file of fixed slots, each with one name and the directory that it is in. A name is noted
 * before the thing is made, and forgotten when it is gone, so every one that exists is noted; one that is noted
 * need not exist.
 *
 * It is best effort, in one direction only: what cannot be noted (all slots taken, the state directory's disk full, a
 * path of 4096 bytes) is made all the same, and litter if the agent dies then. So is what lies in a directory that was
 * renamed meanwhile. Nothing is synced: it survives the agent, but the machine's power only by chance.
 *
 * The file is not trusted. Whatever is in it, what is removed has a temporary name, lies where clients may reach it,
 * is removed with the user's rights, and is nobody's work in progress. */

#include <stdatomic.h>
#include <stdint.h>

#include "agent/base/error.h"
#include "agent/base/macros.h"

struct roots;

#define UNFINISHED_N_SLOTS 1024
#define UNFINISHED_SLOT_SIZE \
        8192 /* of which only the pages that are needed take room on the disk */

/* Any thread may use it, in a scope of the user or not. */
struct unfinished;

/* Opens @state_dir/unfinished, or makes it. The caller sees to it that no other agent has it. Does not wait for what
 * the predecessor noted: that stays until unfinished_collect. Returns a negative errno. */
int unfinished_open(const char *state_dir, struct unfinished **ret, struct error *err);
/* Returns NULL; harmless on NULL. */
struct unfinished *unfinished_close(struct unfinished *u);
DEFINE_CLEANUP(struct unfinished *, unfinished_close)

/* @name, a temporary one, is about to be made in the directory that is open as @dir. */
void unfinished_note(struct unfinished *u, int dir, const char *name);
/* It is gone, or has another name. Harmless for one that was not noted. */
void unfinished_forget(struct unfinished *u, const char *name);

/* Removes what the predecessor left: files, directories with all that is in them, and links themselves. Once, on a
 * worker thread, outside of scopes. What cannot be removed (read-only, busy, @cancel, ...) is left to the next agent.
 * @cancel may be NULL. Returns the number of things that were removed; *ret_left is that of those that are left. */
unsigned unfinished_collect(struct unfinished *u, const struct roots *roots,
                            const atomic_bool *cancel, unsigned *ret_left);
