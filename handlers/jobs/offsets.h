/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where somebody is in the output of a job: an offset in each of its two streams, as clients write it. */

#include <stdbool.h>
#include <stdint.h>

/* In the order of job_totals. */
enum output_channel { CHANNEL_STDOUT, CHANNEL_STDERR, N_CHANNELS };

/* "stdout", "stderr" */
extern const char *const channel_names[N_CHANNELS];

/* Larger ones cannot be written in JSON, and no log has them. */
#define OFFSET_MAX ((uint64_t)INT64_MAX)

/* "N", of stream @lone, the other being 0; or "N,M", of stdout and stderr. -EINVAL. */
int offsets_parse(const char *text, enum output_channel lone, uint64_t ret[N_CHANNELS]);

/* The id of an event: "N,M", or "N,M,end" when nothing will follow. -EINVAL: it is none of ours. */
int offsets_parse_id(const char *text, uint64_t ret[N_CHANNELS], bool *ret_is_end);
#define OFFSETS_ID_SIZE 48
const char *offsets_write_id(char dst[OFFSETS_ID_SIZE], const uint64_t at[N_CHANNELS], bool is_end);
