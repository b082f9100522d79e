/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/workdir.h"

#include "agent/base/alloc.h"
#include "agent/base/path.h"
#include "agent/base/workspace.h"
#include "agent/config.h"

/* See the header. */
int workdir_resolve(const struct config *config, const char *workdir, char **ret, struct error *err)
{
        CLEANUP(mem_free) char *meant = NULL;
        const char *rest;

        if (!workdir) {
                *ret = xstrdup(config->workspace);
                return 0;
        }
        rest = workspace_meant(config->workspace, workdir);
        if (rest)
                workdir = meant = xasprintf("%s%s", config->workspace, rest);
        return path_normalize(config->workspace, workdir, ret, err);
}
