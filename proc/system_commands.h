/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Command lines of processes, kept from one look to the next: reading them is a third of what a look costs, and they
 * hardly ever change. A process that becomes another program is noticed; one that writes over its own command line is
 * after SYSTEM_COMMANDS_FRESH_US. For one thread at a time. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/base/macros.h"

#define SYSTEM_COMMANDS_FRESH_US 3000000

struct system_commands;

struct system_command {
        pid_t pid;
        uint64_t start; /* tells a process from its successor with the same number */
        uint64_t image; /* tells one program of it from the next (system_stat.h); 0: nobody knows */
        uint64_t read_us; /* monotonic */
        size_t offset;    /* of its text, see system_commands_text */
        size_t size;
};

struct system_commands *system_commands_new(void);
struct system_commands *system_commands_free(struct system_commands *c);
DEFINE_CLEANUP(struct system_commands *, system_commands_free)

/* Begins a look at @now_us (monotonic). */
void system_commands_begin(struct system_commands *c, uint64_t now_us);
/* What the look before had of @pid, if that is fresh; or NULL. Valid until the look ends. */
const struct system_command *system_commands_find(const struct system_commands *c, pid_t pid);
const char *system_commands_text(const struct system_commands *c,
                                 const struct system_command *command);
/* Keeps @text for the next look; without memory, or with an image that nobody knows, it does not. @command's offset and
 * size are not looked at. */
void system_commands_keep(struct system_commands *c, const struct system_command *command,
                          const char *text, size_t size);
/* Ends the look: what was kept is what the next one finds. */
void system_commands_end(struct system_commands *c);
