/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What agent-shim uses instead of a C library: raw system calls, an entry point and a few string functions.
 *
 * Why: every child passes through the shim, and most of the time that it took was the start of the C library,
 * which asks the processor what it can do. In a virtual machine each of these two dozen CPUID instructions traps
 * into the hypervisor, 10 to 70 µs apiece. Without it the shim costs about as much as a fork.
 *
 * It is compiled with -ffreestanding and linked with -nostdlib (meson.build). Calls return what the kernel does:
 * a value, or a negative errno. */

#include <stddef.h>

#if defined(__x86_64__)

static long sys6(long n, long a, long b, long c, long d, long e, long f)
{
        register long r10 __asm__("r10") = d;
        register long r8 __asm__("r8") = e;
        register long r9 __asm__("r9") = f;
        long ret;

        __asm__ volatile("syscall"
                         : "=a"(ret)
                         : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                         : "rcx", "r11", "memory");
        return ret;
}

/* The kernel leaves argc, argv and envp on the stack. */
__asm__(".globl _start\n"
        "_start:\n\t"
        "xor %ebp, %ebp\n\t"
        "mov %rsp, %rdi\n\t"
        "and $-16, %rsp\n\t"
        "call shim_start\n\t"
        "ud2\n");

#elif defined(__aarch64__)

static long sys6(long n, long a, long b, long c, long d, long e, long f)
{
        register long x8 __asm__("x8") = n;
        register long x0 __asm__("x0") = a;
        register long x1 __asm__("x1") = b;
        register long x2 __asm__("x2") = c;
        register long x3 __asm__("x3") = d;
        register long x4 __asm__("x4") = e;
        register long x5 __asm__("x5") = f;

        __asm__ volatile("svc #0"
                         : "+r"(x0)
                         : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                         : "memory");
        return x0;
}

__asm__(".globl _start\n"
        "_start:\n\t"
        "mov x29, xzr\n\t"
        "mov x0, sp\n\t"
        "and sp, x0, #-16\n\t"
        "bl shim_start\n\t"
        "brk #1\n");

#else
#error "agent-shim: add the system call instruction of this architecture here"
#endif

#define SYS_CALL(n, a, b, c, d, e, f, ...) \
        sys6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* sys(SYS_write, fd, data, size): up to six arguments. */
#define sys(...) SYS_CALL(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* The compiler may call these two of its own accord. */
void *memset(void *p, int c, size_t size);
void *memcpy(void *to, const void *from, size_t size);

void *memset(void *p, int c, size_t size)
{
        for (volatile char *s = p; size > 0; size--)
                *s++ = (char)c;
        return p;
}

void *memcpy(void *to, const void *from, size_t size)
{
        volatile char *t = to;

        for (const char *s = from; size > 0; size--)
                *t++ = *s++;
        return to;
}

static size_t text_size(const char *s)
{
        size_t n = 0;

        while (s[n])
                n++;
        return n;
}

static int text_equal(const char *a, const char *b)
{
        while (*a && *a == *b) {
                a++;
                b++;
        }
        return *a == *b;
}
