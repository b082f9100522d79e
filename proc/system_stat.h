/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the kernel writes about one process into /proc, as data. Pure functions: any bytes may come in. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The part of /proc/PID/stat that is of use. */
struct system_stat {
        const char *name; /* inside the text; whatever the process chose, not necessarily UTF-8 */
        size_t name_size;
        char state; /* a letter */
        pid_t pid;
        pid_t parent;
        pid_t session;
        uint64_t cpu_ticks; /* user and system, of all its threads */
        uint64_t threads;
        uint64_t start_ticks; /* since the machine's start */
        uint64_t rss_pages;
        bool has_memory; /* threads of the kernel have none, nor what has ended: so no command line either */
        uint64_t image; /* changes when it becomes another program; 0: nobody knows */
};

/* -EINVAL: no such line. */
int system_stat_parse(const char *text, size_t size, struct system_stat *ret);

/* /proc/PID/cmdline in place: arguments are separated by spaces instead of NULs. @is_cut: there was more, so what is
 * left ends between two characters. Returns the size. */
size_t system_command_join(char *data, size_t size, bool is_cut);

/* "running", "sleeping", "disk-sleep", "stopped", "tracing-stop", "zombie", "dead", "idle", "parked"; "unknown". */
const char *system_state_name(char state);
