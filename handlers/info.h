/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct request;
struct route_doc;

int info_get(struct request *req);
extern const struct route_doc info_get_doc;
