/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Deliveries on the disk: one file each, NAME = "<id>.json", mode 0600, because it holds secrets and results.
 *
 *     {"version":1,"id":…,"url":…,"headers":…,"secret":…,"created_at_ms":…,"body_size":N}
 *     N bytes of body
 *
 *     {"attempts":1,"next_attempt_at_ms":…,"last_error":…,"last_status":…}
 *
 * A file appears complete or not at all. A note is appended after each failed attempt; the last one that can be read
 * counts, so that one which was cut short by a full disk or a crash costs nothing but the count. All of these
 * functions wait for the disk: they are for worker threads, or the start. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "agent/base/error.h"

#define JOURNAL_ERROR_SIZE 256

/* How things stand. */
struct journal_note {
        unsigned attempts;
        unsigned last_status;
        int64_t next_attempt_at_ms;
        char last_error[JOURNAL_ERROR_SIZE];
};

struct journal_entry {
        char *id;
        char *url;
        char *secret;    /* NULL: not signed */
        json_t *headers; /* NULL: none */
        int64_t created_at_ms;
        char *body; /* NULL when it was not asked for */
        size_t body_size;
        struct journal_note note;
};

/* Frees what is in it, and wipes the secrets. */
void journal_entry_done(struct journal_entry *e);

bool journal_id_is_valid(const char *id);

/* Opens @state_dir/webhooks, which is made if necessary. */
int journal_open(const char *state_dir, int *ret_dir, struct error *err);

/* The first line of a file, without the body's bytes: what needs no disk. To be freed; it may hold secrets. */
char *journal_head(const struct journal_entry *e);
/* Puts a new file with @head and @body into the journal; when it returns 0 they are safe. */
int journal_write(int dir, const char *id, const char *head, const void *body, size_t body_size,
                  struct error *err);
int journal_note(int dir, const char *id, const struct journal_note *note, struct error *err);
/* -EINVAL: the file is damaged. */
int journal_read(int dir, const char *id, bool with_body, struct journal_entry *ret,
                 struct error *err);
int journal_remove(int dir, const char *id);

/* Calls @found for each delivery, without its body, the oldest first; @found may take parts of the entry. Removes
 * what was never complete, and renames what is damaged to "<id>.json.damaged" (a few are kept). At most
 * LIMIT_WEBHOOK_FILES are looked at; the others wait for the next start. */
int journal_scan(int dir, void (*found)(void *arg, struct journal_entry *e), void *arg,
                 struct error *err);
