/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The process object: how a background job is told, wherever it is told. */

/* Sentences for people. */
#define JOB_NOT_STARTED "the program could not be started"
#define JOB_LOST_TEXT                                                                           \
        "the keeper of the job was killed, or the machine was restarted, and the job with it; " \
        "how it would have ended is not known"

struct app;
struct buf;
struct job;
struct request;

/* Appends the JSON object. 0, -ENOMEM or -EFBIG. Takes some microseconds. */
int job_describe(struct buf *b, const struct job *job);

/* The same, with two changes for who answers a request: @status instead of its own, unless NULL; and @more, members to
 * add, each with its comma in front (",\"finished\":true"), or NULL. */
int job_describe_more(struct buf *b, const struct job *job, const char *status, const char *more);

/* Answers with the object. @more: as above. Returns 0, as all answers do. */
int job_reply(struct request *req, unsigned status, const struct job *job, const char *more);

/* The job with that process_id or execution_id, borrowed; or NULL, and the request was failed. */
struct job *job_of_request(struct request *req, const char *id);
