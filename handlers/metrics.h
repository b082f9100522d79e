/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct request;

int metrics_snapshot_get(struct request *req);
