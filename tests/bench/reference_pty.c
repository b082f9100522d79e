/* SPDX-License-Identifier: Apache-2.0 */

/* The least that a terminal over the network can cost: for each connection a pseudo-terminal, the program on
 * it, and two threads that read from one side and write to the other, blocking. There is no framing, no
 * encoding, no check and no limit, so what the agent needs beyond this is what its protocol costs. */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

#define BUFFER_SIZE 65536
#define STACK_SIZE  (128 * 1024)

struct session {
        int socket_fd;
        int master_fd;
        pid_t pid;
        pthread_t output;
};

static char **program;

static void fail(const char *what)
{
        perror(what);
        exit(1);
}

static int listen_on(const char *port)
{
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                .sin_addr = { htonl(INADDR_LOOPBACK) },
        };
        int on = 1;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
            bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 512) < 0)
                fail("listen");
        return fd;
}

/* Until one side has ended: a terminal whose last program is gone reads as EIO. */
static void pump(int from, int to)
{
        char buffer[BUFFER_SIZE];

        for (;;) {
                ssize_t n = read(from, buffer, sizeof(buffer));

                if (n <= 0)
                        return;
                for (ssize_t done = 0; done < n;) {
                        ssize_t written = write(to, buffer + done, (size_t)(n - done));

                        if (written < 0)
                                return;
                        done += written;
                }
        }
}

static void *pump_output(void *data)
{
        struct session *s = data;

        pump(s->master_fd, s->socket_fd);
        (void)shutdown(s->socket_fd, SHUT_RDWR);
        return NULL;
}

static void spawn(struct session *s)
{
        struct winsize size = { .ws_row = 24, .ws_col = 80 };
        int slave_fd;

        if (openpty(&s->master_fd, &slave_fd, NULL, NULL, &size) < 0 ||
            fcntl(s->master_fd, F_SETFD, FD_CLOEXEC) < 0)
                fail("openpty");
        s->pid = fork();
        if (s->pid < 0)
                fail("fork");
        if (s->pid == 0) {
                (void)signal(SIGPIPE, SIG_DFL); /* pipelines rely on it */
                if (login_tty(slave_fd) == 0)
                        execvp(program[0], program);
                _exit(127);
        }
        close(slave_fd);
}

static void *serve(void *data)
{
        struct session *s = data;

        spawn(s);
        if (pthread_create(&s->output, NULL, pump_output, s) != 0)
                fail("thread");
        pump(s->socket_fd, s->master_fd);
        /* It leads a session of its own, unless it is so young that it does not yet. */
        (void)kill(s->pid, SIGKILL);
        (void)kill(-s->pid, SIGKILL);
        (void)shutdown(s->socket_fd, SHUT_RDWR);
        pthread_join(s->output, NULL);
        while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        close(s->master_fd);
        close(s->socket_fd);
        free(s);
        return NULL;
}

int main(int argc, char **argv)
{
        pthread_attr_t attributes;
        int on = 1;
        int listener;

        if (argc < 3) {
                fprintf(stderr, "usage: reference_pty PORT PROGRAM [ARG...]\n");
                return 2;
        }
        program = argv + 2;
        (void)signal(SIGPIPE, SIG_IGN);
        (void)setenv("TERM", "xterm-256color", 1);
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, STACK_SIZE);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        listener = listen_on(argv[1]);

        for (;;) {
                struct session *s = calloc(1, sizeof(*s));
                pthread_t thread;

                if (!s)
                        fail("session");
                s->socket_fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (s->socket_fd < 0) {
                        free(s);
                        continue; /* the client changed its mind */
                }
                (void)setsockopt(s->socket_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                if (pthread_create(&thread, &attributes, serve, s) != 0)
                        fail("thread");
        }
}
