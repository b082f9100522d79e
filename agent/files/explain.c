/* SPDX-License-Identifier: Apache-2.0 */

/* Looks again, at parts of the path or at what it names itself. Others may have changed it meanwhile: then the plain
 * sentence stays. */

#include "agent/files/explain.h"

#include <string.h>
#include <sys/stat.h>

#include "agent/base/alloc.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"

/* See the header. */
int explain_missing_parent(const struct roots *roots, const char *path, int r, struct error *err)
{
        CLEANUP(mem_free) char *head = NULL;

        if (r != FILES_E_NOT_FOUND)
                return r;
        head = xstrdup(path);
        for (char *end = head + strspn(head, "/"); (end = strchr(end, '/')); end++) {
                CLEANUP(place_done) struct place p = PLACE_INIT;
                struct error ignored = ERROR_INIT;

                *end = '\0';
                if (place_find(roots, head, PLACE_FOLLOW, 0, &p, &ignored) == FILES_E_NOT_FOUND)
                        return files_fail(err, FILES_E_NO_DIRECTORY, head);
                *end = '/';
                end += strspn(end, "/") - 1;
        }
        return files_fail(err, FILES_E_NO_DIRECTORY, path);
}

/* See the header. */
int explain_missing(const struct roots *roots, const char *path, int r, struct error *err)
{
        CLEANUP(place_done) struct place p = PLACE_INIT;
        struct error ignored = ERROR_INIT;

        if (r == FILES_E_NOT_FOUND && place_find(roots, path, PLACE_SELF, 0, &p, &ignored) == 0 &&
            S_ISLNK(p.st.st_mode))
                return files_fail_saying(err, FILES_E_NOT_FOUND, "The link leads nowhere", path);
        return r;
}

static bool is_allowed_itself(const struct roots *roots, const char *path)
{
        for (char **p = roots->paths; *p; p++)
                if (strcmp(*p, path) == 0)
                        return true;
        return false;
}

/* See the header. */
int explain_no_entry(const struct roots *roots, const char *path, int r, struct error *err)
{
        CLEANUP(place_done) struct place p = PLACE_INIT;
        struct error ignored = ERROR_INIT;

        if ((r != FILES_E_NOT_ALLOWED && r != FILES_E_INVALID) ||
            place_find(roots, path, PLACE_SELF, 0, &p, &ignored) != 0)
                return r;
        if (strcmp(p.path, "/") == 0)
                return files_fail_saying(err, (enum files_outcome)r,
                                         "The root directory cannot be removed or moved", path);
        if (is_allowed_itself(roots, p.path))
                return files_fail_saying(err, (enum files_outcome)r,
                                         "An allowed directory itself cannot be removed or moved",
                                         path);
        if (roots_are_below(roots, p.path))
                return files_fail_saying(
                        err, (enum files_outcome)r,
                        "There is an allowed directory in it, so it cannot be removed or moved",
                        path);
        if (r == FILES_E_INVALID)
                return files_fail_saying(err, FILES_E_INVALID,
                                         "The path has to end with the name that is meant", path);
        return r;
}
