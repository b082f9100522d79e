/* SPDX-License-Identifier: Apache-2.0 */

/* The user that children run as, resolved once at start: looking up names may ask a directory service, which
 * neither the loop nor the static shim should wait for. */

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "proc/spawn.h"

/* An agent may run under a number that no user database knows (containers do that). */
static struct credentials *credentials_nameless(uid_t uid, gid_t gid)
{
        struct credentials *c = xnew(struct credentials);

        c->uid = uid;
        c->gid = gid;
        c->name = xasprintf("%u", (unsigned)uid);
        c->home = xstrdup("/");
        c->shell = xstrdup("/bin/sh");
        return c;
}

static void load_groups(struct credentials *c)
{
        int n = 64;

        for (;;) {
                c->groups = xrealloc_array(c->groups, (size_t)n, sizeof(gid_t));
                if (getgrouplist(c->name, c->gid, c->groups, &n) >= 0)
                        break; /* otherwise n has become what is needed */
        }
        c->n_groups = (unsigned)n;
}

/* See the header. */
int credentials_new(const char *name, struct credentials **ret, struct error *err)
{
        struct credentials *c;
        struct passwd *pw;

        errno = 0;
        pw = name ? getpwnam(name) : getpwuid(geteuid());
        if (!pw && name)
                return error_set(err, errno && errno != ESRCH ? -errno : -ENOENT, "user %s", name);
        if (!pw) {
                *ret = credentials_nameless(geteuid(), getegid());
                return 0;
        }

        c = xnew(struct credentials);
        c->uid = pw->pw_uid;
        c->gid = pw->pw_gid;
        c->name = xstrdup(pw->pw_name);
        c->home = xstrdup(*pw->pw_dir ? pw->pw_dir : "/");
        c->shell = xstrdup(*pw->pw_shell ? pw->pw_shell : "/bin/sh");
        load_groups(c);
        *ret = c;
        return 0;
}

/* See the header. */
struct credentials *credentials_free(struct credentials *c)
{
        if (!c)
                return NULL;

        free(c->groups);
        free(c->name);
        free(c->home);
        free(c->shell);
        free(c);
        return NULL;
}
