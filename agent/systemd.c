/* SPDX-License-Identifier: Apache-2.0 */

/* sd_notify(3), sd_listen_fds(3) and sd_watchdog_enabled(3) by hand: together they are one datagram and four
 * environment variables, which is less than a dependency on libsystemd. The protocol is documented as stable
 * in those manual pages. */

#include "agent/systemd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/base/str.h"

#define LISTEN_FDS_MAX 1024

/* Each notification opens its own socket: they are rare, and so no descriptor can be inherited or go stale. */
int systemd_notify(const char *state)
{
        CLEANUP(fd_close) int fd = -1;
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        const char *path = getenv("NOTIFY_SOCKET");
        socklen_t len;
        size_t size;

        if (!path || !*path)
                return 0;
        size = strlen(path);
        if (path[0] != '/' && path[0] != '@')
                return -EAFNOSUPPORT;
        if (size >= sizeof(un.sun_path))
                return -ENAMETOOLONG;

        memcpy(un.sun_path, path, size);
        if (path[0] == '@')
                un.sun_path[0] = '\0'; /* abstract: not NUL-terminated, its length is its end */
        len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&un, len) < 0)
                return -errno;
        return 1;
}

/* The service is up: `systemctl start` returns. */
int systemd_notify_ready(void)
{
        return systemd_notify("READY=1");
}

/* The service has begun to end. */
int systemd_notify_stopping(void)
{
        return systemd_notify("STOPPING=1");
}

/* The real clock, not agent/base/clock.h: systemd compares it with its own. */
int systemd_notify_reloading(void)
{
        struct timespec now;
        char state[80];

        (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
        (void)snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
                       (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
        return systemd_notify(state);
}

/* Line breaks become spaces: a status must not smuggle in other assignments. */
int systemd_notify_status(const char *fmt, ...)
{
        char state[256] = "STATUS=";
        size_t prefix = strlen(state);
        va_list ap;

        va_start(ap, fmt);
        (void)vsnprintf(state + prefix, sizeof(state) - prefix, fmt, ap);
        va_end(ap);

        for (char *p = state; *p; p++)
                if (*p == '\n' || *p == '\r')
                        *p = ' ';
        return systemd_notify(state);
}

/* A sign of life. */
int systemd_notify_watchdog(void)
{
        return systemd_notify("WATCHDOG=1");
}

/* True if the variable @name names this very process: the variables are inherited, and what our parent was
 * promised is not ours. */
static bool is_for_us(const char *name)
{
        const char *text = getenv(name);
        uint64_t pid;

        return text && str_parse_u64(text, &pid) == 0 && pid == (uint64_t)getpid();
}

/* WATCHDOG_PID may be missing; then the interval is for whoever reads it. */
uint64_t systemd_watchdog_ms(void)
{
        const char *text = getenv("WATCHDOG_USEC");
        uint64_t us;

        if (!text || str_parse_u64(text, &us) < 0 || us == 0)
                return 0;
        if (getenv("WATCHDOG_PID") && !is_for_us("WATCHDOG_PID"))
                return 0;
        return MAX(us / 1000, (uint64_t)1);
}

static int take_fds(const char *text, struct error *err)
{
        uint64_t n;

        if (str_parse_u64(text, &n) < 0 || n > LISTEN_FDS_MAX)
                return error_set_field(err, -EINVAL, "", "LISTEN_FDS is no number up to %d",
                                       LISTEN_FDS_MAX);

        for (int i = 0; i < (int)n; i++) {
                int r = fd_set_cloexec(SYSTEMD_LISTEN_FDS_START + i, true);

                /* systemd passes them blocking unless the unit says NonBlocking=yes. */
                if (r == 0)
                        r = fd_set_nonblock(SYSTEMD_LISTEN_FDS_START + i, true);
                if (r < 0)
                        return error_set(err, r, "descriptor %d from systemd",
                                         SYSTEMD_LISTEN_FDS_START + i);
        }
        return (int)n;
}

/* The variables go whatever they said, so that no child takes them for its own. */
int systemd_listen_fds(struct error *err)
{
        const char *text = getenv("LISTEN_FDS");
        int r = 0;

        if (text && is_for_us("LISTEN_PID"))
                r = take_fds(text, err);

        (void)unsetenv("LISTEN_FDS"); /* fails for malformed names only; the same for the others */
        (void)unsetenv("LISTEN_PID");
        (void)unsetenv("LISTEN_FDNAMES");
        return r;
}

/* Any address family: a .socket unit may well name a unix socket. */
bool systemd_is_listening_stream(int fd)
{
        socklen_t size = sizeof(int);
        int type;
        int accepting;

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
                return false;
        size = sizeof(int);
        return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &size) == 0 && accepting != 0;
}
