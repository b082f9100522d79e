/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct request;

int info_get(struct request *req);
