/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/base/workspace.h"

#include <string.h>
#include <unistd.h>

#include "agent/base/path.h"
#include "agent/base/str.h"

/* See the header. A workspace in /workspace has that name itself. */
const char *workspace_rest(const char *workspace, const char *path)
{
        const char *rest;

        if (!str_has_prefix(path, WORKSPACE_NAME))
                return NULL;
        rest = path + strlen(WORKSPACE_NAME);
        if ((*rest != '\0' && *rest != '/') || path_is_under(workspace, WORKSPACE_NAME))
                return NULL;
        return rest;
}

/* See the header. */
const char *workspace_meant(const char *workspace, const char *path)
{
        const char *rest = workspace_rest(workspace, path);

        return rest && access(WORKSPACE_NAME, F_OK) < 0 ? rest : NULL;
}
