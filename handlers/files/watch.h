/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /files/watch: changes of files and directories, over a WebSocket.
 *
 * The client sends {"action":"watch","path"} with "recursive" (true), "ignore" (patterns; without it what is below
 * .git, node_modules and __pycache__ is not told) and "batch" (false), and {"action":"unwatch","path"}; as often as it
 * likes. It gets
 *
 *     {"type":"status",…}      a watch has begun, or ended by "unwatch"; changes from now on are told
 *     {"type":"change",…}      see agent/watch/watch.h for what is told, and in which order
 *     {"type":"changes",…}     for those who asked for batches: several of them
 *     {"type":"overflow",…}    more changed than could be remembered; the differences follow
 *     {"type":"error",…}       a watch could not begin, or cannot go on; after the last one the connection is closed
 *
 * Paths in messages begin as the client wrote the watch's path. */

struct request;
struct route_doc;

int files_watch_get(struct request *req);
extern const struct route_doc files_watch_get_doc;
