/* SPDX-License-Identifier: Apache-2.0 */

/* Pseudo-terminals. posix_openpt instead of openpt(3), which opens both ends without O_CLOEXEC; and the slave by
 * way of the master (TIOCGPTPEER), which needs no name and so finds the right one in whatever devpts is mounted. */

#include "proc/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "agent/base/fd.h"

#define SLAVE_FLAGS (O_RDWR | O_NOCTTY | O_CLOEXEC)
#define CTRL_D      4

static int open_slave(int master)
{
        char path[PATH_MAX];
        int fd, r;

        if (unlockpt(master) < 0)
                return -errno;
        fd = ioctl(master, TIOCGPTPEER, SLAVE_FLAGS);
        if (fd >= 0)
                return fd;

        /* A kernel that does not have it, or something that is no kernel. */
        r = ptsname_r(master, path, sizeof(path));
        if (r != 0)
                return -r;
        fd = open(path, SLAVE_FLAGS);
        return fd < 0 ? -errno : fd;
}

/* What programs open as /dev/tty or by its name they open as themselves. The group is the one that devpts gives. */
static int give_away(int slave, const struct credentials *user)
{
        if (!user || geteuid() != 0 || user->uid == 0)
                return 0;
        return fchown(slave, user->uid, (gid_t)-1) < 0 ? -errno : 0;
}

static int set_up_line(int slave)
{
        struct termios line;

        if (tcgetattr(slave, &line) < 0)
                return -errno;
        line.c_iflag |= IUTF8;
        return tcsetattr(slave, TCSANOW, &line) < 0 ? -errno : 0;
}

/* See the header. */
int pty_open(const struct pty_size *size, const struct credentials *user, int *ret_master,
             int *ret_slave, struct error *err)
{
        CLEANUP(fd_close) int master = -1;
        CLEANUP(fd_close) int slave = -1;
        int r;

        master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
        if (master < 0)
                return error_set(err, -errno, "open a terminal");
        slave = open_slave(master);
        if (slave < 0)
                return error_set(err, slave, "open the program's side of a terminal");
        r = give_away(slave, user);
        if (r < 0)
                return error_set(err, r, "give a terminal to %s", user->name);
        r = set_up_line(slave);
        if (r == 0)
                r = pty_resize(master, size);
        if (r < 0)
                return error_set(err, r, "set up a terminal");

        *ret_master = STEAL_FD(master);
        *ret_slave = STEAL_FD(slave);
        return 0;
}

static bool is_sane(unsigned n)
{
        return n >= 1 && n <= PTY_MAX_SIZE;
}

/* See the header. */
int pty_resize(int master_fd, const struct pty_size *size)
{
        struct winsize w = { 0 };

        if (!is_sane(size->columns) || !is_sane(size->rows))
                return -EINVAL;
        w.ws_col = (unsigned short)size->columns;
        w.ws_row = (unsigned short)size->rows;
        return ioctl(master_fd, TIOCSWINSZ, &w) < 0 ? -errno : 0;
}

/* See the header. */
char pty_end_of_file(int master_fd)
{
        struct termios line;

        if (tcgetattr(master_fd, &line) < 0 || line.c_cc[VEOF] == _POSIX_VDISABLE)
                return CTRL_D;
        return (char)line.c_cc[VEOF];
}
