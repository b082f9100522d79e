/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The bytes of one stream of a job as an answer, with their offsets in its headers. */

#include <stddef.h>
#include <stdint.h>

#include "handlers/jobs/offsets.h"

struct job;
struct log_reader;
struct request;

/* Answers @req, later. Takes @reader, which has looked. */
void output_raw_start(struct request *req, struct job *job, struct log_reader *reader,
                      enum output_channel channel, uint64_t offset, size_t limit);
