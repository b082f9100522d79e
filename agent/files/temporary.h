/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Names for what is being made and is not there yet: a file is written, or a tree is copied, beside its place, and is
 * renamed to it when it is complete. Who lists or watches directories leaves them out.
 *
 * This is the only way to make such things and to give them up, because they are noted (files/unfinished.h): what an
 * agent that is killed leaves behind, the next one removes. Each that was made ends with temporary_remove, or with
 * place_publish, or is renamed by other means and then temporary_forget. */

#include <stdbool.h>

#define TEMPORARY_NAME_SIZE 48

struct unfinished;

/* ".vm-agent-tmp-" and 24 random digits. Returns @dst. */
const char *temporary_name(char dst[TEMPORARY_NAME_SIZE]);
bool temporary_is_name(const char *name);

/* From now on names are noted in @journal, one for the whole program; NULL: nowhere. It must not go while there may be
 * temporary things. */
void temporary_set_journal(struct unfinished *journal);

/* Makes the file, with @mode (umask applies), or the directory, for its owner alone, with a new name in @dir, and locks
 * it: as long as the descriptor is open, by whatever process, no agent takes it for left behind. Returns the
 * descriptor or a negative errno. */
int temporary_make_file(int dir, unsigned mode, char ret_name[TEMPORARY_NAME_SIZE]);
int temporary_make_directory(int dir, char ret_name[TEMPORARY_NAME_SIZE]);
/* A symbolic link, which is complete at once. Returns a negative errno. */
int temporary_make_link(int dir, const char *target, char ret_name[TEMPORARY_NAME_SIZE]);

/* Removes it, a directory with all that is in it. What cannot be removed stays noted. Within a scope. */
void temporary_remove(int dir, const char *name);

/* @name does not exist any more: it was renamed. */
void temporary_forget(const char *name);

/* Is the thing that @fd is open for being made by somebody? If not, it is locked by this. */
bool temporary_is_locked(int fd);
