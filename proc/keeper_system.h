/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What agent-keeper uses instead of a C library, for the same reason as agent-shim (shim_system.h), and because one of
 * them waits beside every background job: without the library it has some 100 KiB resident instead of a megabyte.
 *
 * Calls return what the kernel does: a value, or a negative errno. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

long keeper_call(long n, long a, long b, long c, long d, long e, long f);

#define KERNEL_(n, a, b, c, d, e, f, ...) \
        keeper_call((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* kernel(SYS_write, fd, data, size): up to six arguments. */
#define kernel(...) KERNEL_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* The program; _start calls it. */
__attribute__((noreturn)) void keeper_main(char **argv, char **envp);
__attribute__((noreturn)) void keeper_leave(int status);

/* Returns -1. */
int keeper_close(int fd);
uint64_t keeper_now_us(void);  /* monotonic, without pauses */
uint64_t keeper_unix_ms(void); /* wall clock */
/* We stood still for so long: that clock leaves it out, and so no deadline comes early by it. */
void keeper_add_pause(uint64_t us);

size_t text_length(const char *s);
bool text_same(const char *a, const char *b);

/* A text that is put together; what does not fit is cut. */
struct text {
        char *data; /* always terminated */
        size_t size;
        size_t capacity;
};

/* An empty one in the array @a. */
#define TEXT_IN(a)                                 \
        {                                          \
                .data = (a), .capacity = sizeof(a) \
        }

void text_add(struct text *t, const char *s);
void text_add_number(struct text *t, uint64_t n);
/* "key=value\n" */
void text_add_line(struct text *t, const char *key, const char *value);
void text_add_count(struct text *t, const char *key, uint64_t n);

/* Reads a small file, terminated and cut to fit. Returns its size or a negative errno. */
long keeper_read_file(int dir_fd, const char *path, char *dst, size_t size);
long keeper_write_file(int dir_fd, const char *path, const char *text);
/* The number that @s begins with, after spaces; *ret_end, unless NULL, is where it stopped. */
uint64_t text_number(const char *s, const char **ret_end);
/* The number behind "@key " at the start of a line of @text, or 0. */
uint64_t text_find_number(const char *text, const char *key);
/* What stands in /proc/PID/stat behind the name of the program, which may hold anything: "S 1 …"; NULL: nothing. */
const char *text_behind_name(const char *stat);

/* What getdents64 writes. */
struct directory_entry {
        uint64_t inode;
        int64_t offset;
        unsigned short size;
        unsigned char type;
        char name[];
};
