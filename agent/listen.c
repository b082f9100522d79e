/* SPDX-License-Identifier: Apache-2.0 */

/* Where the agent listens when systemd did not open the socket for it.
 *
 * A unix socket leaves its name behind when its owner dies. Removing any name that is in the way would let a
 * second agent steal the address of a living one, so the name is tried first: only if the kernel says that
 * nobody listens (ECONNREFUSED) is it removed. */

#include "agent/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/base/str.h"

#define UNIX_PREFIX "unix:"
#define BACKLOG     1024
#define SOCKET_MODE 0660

static int parse_unix(const char *path, struct sockaddr_storage *ret, socklen_t *ret_len,
                      struct error *err)
{
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        size_t size = strlen(path);

        if (path[0] != '/')
                return error_set_field(err, -EINVAL, "", "the socket's path must be absolute");
        if (size >= sizeof(un.sun_path))
                return error_set_field(err, -EINVAL, "",
                                       "the socket's path must be shorter than %zu bytes, got %zu",
                                       sizeof(un.sun_path), size);

        memcpy(un.sun_path, path, size + 1);
        memset(ret, 0, sizeof(*ret));
        memcpy(ret, &un, sizeof(un));
        *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
        return 0;
}

static int parse_port(const char *text, in_port_t *ret, struct error *err)
{
        uint64_t port;
        int r;

        r = str_parse_u64(text, &port);
        if (r < 0 || port > UINT16_MAX)
                return error_set_field(err, -EINVAL, "",
                                       "port must be between 0 and 65535, got %.32s", text);

        *ret = htons((uint16_t)port);
        return 0;
}

/* Splits "HOST:PORT" or "[HOST]:PORT"; @host has room for INET6_ADDRSTRLEN bytes. */
static int split(const char *text, char *host, bool *ret_bracketed, const char **ret_port)
{
        bool bracketed = text[0] == '[';
        const char *start = bracketed ? text + 1 : text;
        const char *end = bracketed ? strchr(start, ']') : strrchr(start, ':');
        const char *colon = end && bracketed ? end + 1 : end;

        if (!end || *colon != ':' || end - start >= INET6_ADDRSTRLEN)
                return -EINVAL;

        memcpy(host, start, (size_t)(end - start));
        host[end - start] = '\0';
        *ret_bracketed = bracketed;
        *ret_port = colon + 1;
        return 0;
}

/* Parses without opening anything; *ret_len is what bind(2) wants to know. */
int listen_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len,
                 struct error *err)
{
        char host[INET6_ADDRSTRLEN];
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
        struct sockaddr_in in = { .sin_family = AF_INET };
        const char *port_text;
        in_port_t port = 0;
        bool bracketed;
        int r;

        if (str_has_prefix(text, UNIX_PREFIX))
                return parse_unix(text + strlen(UNIX_PREFIX), ret, ret_len, err);

        if (split(text, host, &bracketed, &port_text) < 0)
                return error_set_field(err, -EINVAL, "",
                                       "must be ADDR:PORT, [ADDR6]:PORT or unix:PATH, got '%.64s'",
                                       text);

        r = inet_pton(bracketed ? AF_INET6 : AF_INET, host,
                      bracketed ? (void *)&in6.sin6_addr : (void *)&in.sin_addr);
        if (r != 1)
                return error_set_field(err, -EINVAL, "", "'%s' is not an %s address", host,
                                       bracketed ? "IPv6" : "IPv4");

        r = parse_port(port_text, &port, err);
        if (r < 0)
                return r;

        in.sin_port = port;
        in6.sin6_port = port;
        memset(ret, 0, sizeof(*ret));
        if (bracketed)
                memcpy(ret, &in6, sizeof(in6));
        else
                memcpy(ret, &in, sizeof(in));
        *ret_len = bracketed ? sizeof(in6) : sizeof(in);
        return 0;
}

/* Frees the name @un for a new socket, or says why it cannot be had. */
static int remove_stale(const struct sockaddr_un *un, socklen_t len)
{
        CLEANUP(fd_close) int fd = -1;
        struct stat st;

        if (lstat(un->sun_path, &st) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISSOCK(st.st_mode))
                return -EEXIST;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* Accepted, or kept waiting by a full backlog: either way somebody listens. */
        if (connect(fd, (const struct sockaddr *)un, len) == 0 || errno == EAGAIN)
                return -EADDRINUSE;
        if (errno != ECONNREFUSED)
                return -errno;

        return unlink(un->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int bind_unix(int fd, const struct sockaddr_un *un, socklen_t len)
{
        int r;

        r = remove_stale(un, len);
        if (r < 0)
                return r;

        /* The kernel gives the name the mode of the unbound socket, less the umask: so nobody can get in
         * between bind and chmod, which then only adds what the umask took away. */
        if (fchmod(fd, SOCKET_MODE) < 0)
                return -errno;
        if (bind(fd, (const struct sockaddr *)un, len) < 0)
                return -errno;
        return chmod(un->sun_path, SOCKET_MODE) < 0 ? -errno : 0;
}

static int bind_inet(int fd, const struct sockaddr_storage *address, socklen_t len)
{
        int on = 1;
        int off = 0;

        /* A restarted agent must not wait for its predecessor's connections to time out. */
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
                return -errno;
        /* "[::]" means both protocols, whatever the system's default says. */
        if (address->ss_family == AF_INET6 &&
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
                return -errno;
        return bind(fd, (const struct sockaddr *)address, len) < 0 ? -errno : 0;
}

/* Messages read "listen 0.0.0.0:7777: Address already in use". */
int listen_open(const char *text, int *ret_fd, struct error *err)
{
        CLEANUP(fd_close) int fd = -1;
        struct sockaddr_storage address;
        socklen_t len;
        int r;

        r = listen_parse(text, &address, &len, err);
        if (r < 0)
                return error_wrap(err, "listen");

        fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return error_set(err, -errno, "listen %s", text);

        if (address.ss_family == AF_UNIX)
                r = bind_unix(fd, (const struct sockaddr_un *)&address, len);
        else
                r = bind_inet(fd, &address, len);
        if (r < 0)
                return error_set(err, r, "listen %s", text);

        if (listen(fd, BACKLOG) < 0)
                return error_set(err, -errno, "listen %s", text);

        *ret_fd = STEAL_FD(fd);
        return 0;
}

/* See the header. */
const char *listen_name(int fd, char dst[LISTEN_NAME_SIZE])
{
        struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
        socklen_t length = sizeof(address);
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;
        const struct sockaddr_un *un = (const struct sockaddr_un *)&address;
        char host[INET6_ADDRSTRLEN];

        (void)snprintf(dst, LISTEN_NAME_SIZE, "?");
        if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
                return dst;
        if (address.ss_family == AF_INET && inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host)))
                (void)snprintf(dst, LISTEN_NAME_SIZE, "%s:%u", host, ntohs(in->sin_port));
        else if (address.ss_family == AF_INET6 &&
                 inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)))
                (void)snprintf(dst, LISTEN_NAME_SIZE, "[%s]:%u", host, ntohs(in6->sin6_port));
        else if (address.ss_family == AF_UNIX)
                (void)snprintf(dst, LISTEN_NAME_SIZE, UNIX_PREFIX "%.*s", (int)sizeof(un->sun_path),
                               un->sun_path);
        return dst;
}
