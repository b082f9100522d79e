/* SPDX-License-Identifier: Apache-2.0 */

/* Why not fork, posix_spawn or uv_spawn: fork copies the page tables (0.6 ms of blocked loop for a daemon of
 * 10 MB, 18 ms for 500 MB), and none of the three can put the child into a cgroup. Moving it there afterwards
 * by writing cgroup.procs waits for an RCU grace period (18 ms were measured), and it leaves a moment in which
 * the child may fork away unseen. clone3 with CLONE_INTO_CGROUP does it at birth for 0.15 ms.
 *
 * How: CLONE_VM | CLONE_VFORK, as posix_spawn does internally: the child runs in our memory, on a stack of its
 * own, while this thread is suspended until the child execs or exits. So the child must not disturb anything:
 *
 *  - It runs on child_stack, not on our stack. glibc has no wrapper for clone3, hence the few lines of assembly:
 *    they must not return to C in the child, because C would look for its variables on the old stack.
 *  - All signals are blocked around it; a handler that ran in the child would write into the loop's pipe. The
 *    mask survives exec: the shim unblocks when it has reset what it inherited.
 *  - Other threads keep running meanwhile; @fn therefore makes system calls only and takes no lock. It shares
 *    our thread's errno, which is harmless as we are suspended. */

#include "proc/vfork.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__aarch64__)

#define STACK_SIZE (64 * 1024)

static char child_stack[STACK_SIZE] __attribute__((aligned(16)));

/* The raw system call; in the child it calls @fn(@arg) on the new stack and never comes back. */
static long clone3_call(struct clone_args *args, void (*fn)(void *), void *arg)
{
#ifdef __x86_64__
        long ret;

        __asm__ volatile("syscall\n\t"
                         "test %%rax, %%rax\n\t"
                         "jnz 1f\n\t"
                         "xor %%ebp, %%ebp\n\t" /* the outermost frame, for unwinders */
                         "mov %[arg], %%rdi\n\t"
                         "call *%[fn]\n\t"
                         "ud2\n"
                         "1:"
                         : "=a"(ret)
                         /* not "r": that may be %rbp, which is cleared before they are used */
                         : "a"((long)SYS_clone3), "D"(args),
                           "S"(sizeof(*args)), [fn] "d"(fn), [arg] "b"(arg)
                         : "rcx", "r11", "memory", "cc");
        return ret;
#else
        register long x8 __asm__("x8") = SYS_clone3;
        register long x0 __asm__("x0") = (long)args;
        register long x1 __asm__("x1") = (long)sizeof(*args);
        register void (*x2)(void *) __asm__("x2") = fn;
        register void *x3 __asm__("x3") = arg;

        __asm__ volatile("svc #0\n\t"
                         "cbnz x0, 1f\n\t"
                         "mov x29, xzr\n\t"
                         "mov x0, x3\n\t"
                         "blr x2\n\t"
                         "brk #1\n"
                         "1:"
                         : "+r"(x0)
                         : "r"(x8), "r"(x1), "r"(x2), "r"(x3)
                         : "x30", "memory", "cc");
        return x0;
#endif
}

/* See the header. */
int vfork_into_cgroup(int cgroup_fd, void (*fn)(void *arg), void *arg, pid_t *ret_pid)
{
        struct clone_args args = {
                .flags = CLONE_VM | CLONE_VFORK | CLONE_INTO_CGROUP,
                .exit_signal = SIGCHLD,
                .stack = (uintptr_t)child_stack,
                .stack_size = sizeof(child_stack),
                .cgroup = (uint64_t)cgroup_fd,
        };
        sigset_t all, saved;
        long pid;

        sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &saved); /* fails for a bad first argument only */
        pid = clone3_call(&args, fn, arg);
        (void)pthread_sigmask(SIG_SETMASK, &saved, NULL);

        if (pid < 0)
                return (int)pid;
        *ret_pid = (pid_t)pid;
        return 0;
}

#else

/* No assembly for this architecture: the caller does without cgroups. */
int vfork_into_cgroup(int cgroup_fd, void (*fn)(void *arg), void *arg, pid_t *ret_pid)
{
        (void)cgroup_fd;
        (void)fn;
        (void)arg;
        (void)ret_pid;
        return -ENOSYS;
}

#endif
