/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How late the loop is, without the loop's own types: for those who only report it. */

#include <stdint.h>

struct loop;

uint64_t loop_lag_ms(const struct loop *l);     /* of the last tick */
uint64_t loop_lag_max_ms(const struct loop *l); /* the worst since the start */
