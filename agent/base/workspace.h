/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The public clients name "/workspace" in most of their calls. Where the workspace is elsewhere, and there is no such
 * directory, the name means the workspace, and a path below it one below the workspace. */

#define WORKSPACE_NAME "/workspace"

/* What follows WORKSPACE_NAME in @path, "" or "/…", if that name may mean the directory @workspace; NULL: @path means
 * what it says. A matter of text alone. */
const char *workspace_rest(const char *workspace, const char *path);

/* The same when it does mean the workspace: looks at the disk, if @path is such a path. */
const char *workspace_meant(const char *workspace, const char *path);
