/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Deliveries: a JSON body is sent by POST to a URL, again and again until the receiver says 2xx, a final no, or the
 * tries are used up. What is queued stands in a journal on the disk before it counts as queued, so that it is sent
 * even if the agent is killed; receivers get each delivery at least once and can tell repeats by its id. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "agent/base/error.h"
#include "agent/base/list.h"

struct loop;
struct webhooks;

/* What the signature covers. */
enum webhook_signature { WEBHOOK_SIGN_BODY, WEBHOOK_SIGN_TIMESTAMP_BODY };

enum webhook_status {
        WEBHOOK_PENDING,    /* waits for its next attempt */
        WEBHOOK_DELIVERING, /* an attempt is under way */
        WEBHOOK_DELIVERED,  /* final: the receiver answered 2xx */
        WEBHOOK_FAILED,     /* final: the receiver said no, or the tries are used up */
        WEBHOOK_REFUSED,    /* final: the agent does not send to that target */
};

/* One delivery as its owner may show it; valid during the call only. */
struct webhook_state {
        const char *id;
        enum webhook_status status;
        unsigned attempts;          /* that have ended */
        const char *last_error;     /* "" if there was none */
        unsigned last_status;       /* HTTP status of the last answer; 0: there was none */
        int64_t next_attempt_at_ms; /* Unix time; 0 unless pending */
        int64_t delivered_at_ms;    /* Unix time; 0 unless delivered */
};

/* Strings and lists are borrowed during the call that gets them. */
struct webhooks_options {
        const char *
                state_dir; /* the journal is its folder "webhooks"; looked at by webhooks_new only */
        const char *ca_file; /* certificates that vouch for receivers; NULL: the system's */

        uint64_t connect_timeout_ms; /* name look-up, connection and TLS */
        uint64_t timeout_ms;         /* of a whole attempt */
        unsigned max_tries;
        uint64_t retry_first_ms; /* the longest first wait; doubled for each further one … */
        uint64_t retry_max_ms;   /* … up to this */
        unsigned max_sending; /* attempts under way at once; one host gets at most half of them */
        unsigned max_queued;  /* deliveries that are not final */

        enum webhook_signature signature;

        /* Networks (192.0.2.0/24), addresses and names (example.com, *.example.com); NULL-terminated, or NULL. */
        char *const *allow; /* if there is any, only these targets */
        char *const *deny;  /* never these */
        bool deny_metadata; /* never link-local addresses, nor where clouds serve metadata */

        /* Called on the loop whenever a state changes, also of deliveries that an earlier agent left. It may
         * queue, but not close. NULL: nobody wants to know. */
        void (*on_change)(void *arg, const struct webhook_state *state);
        void *arg;
};

/* "pending" … "refused" */
const char *webhook_status_name(enum webhook_status status);

/* Can these options be used? The message names the option. */
int webhooks_check_options(const struct webhooks_options *options, struct error *err);

/* Opens the journal and starts to send what it holds; on_change comes later, from the loop. Files that cannot be
 * understood are set aside with a warning. */
int webhooks_new(struct loop *l, const struct webhooks_options *options, struct webhooks **ret,
                 struct error *err);
/* Other options from now on. On failure the old ones stay. */
int webhooks_configure(struct webhooks *w, const struct webhooks_options *options,
                       struct error *err);
/* Another machine may have been started from the saved state that we were resumed from: its secrets must not be ours.
 * What is being sent goes on, or fails and is tried again. */
void webhooks_resumed(struct webhooks *w);
/* Gives up what is being sent (the journal has it) and calls @on_closed(@arg), later, when nothing is under way any
 * more. What is being queued is still written, and its owner told; there are no more changes of state. Once. */
void webhooks_close(struct webhooks *w, void (*on_closed)(void *arg), void *arg);
/* After on_closed. Returns NULL. */
struct webhooks *webhooks_free(struct webhooks *w);

/* Deliveries that are not final. */
unsigned webhooks_n_queued(const struct webhooks *w);
/* Is the delivery @id among them? */
bool webhook_is_queued(const struct webhooks *w, const char *id);

/* Would @url do? -EINVAL: it is no http or https URL that can be sent to. -EPERM: its host is denied; what a name
 * stands for is found out when it is used. err->field is "/callback_url". */
int webhook_check_url(const struct webhooks *w, const char *url, struct error *err);
/* Would these headers (name → string; NULL: none) do? -EINVAL; err->field is "/callback_headers/NAME". */
int webhook_check_headers(const json_t *headers, struct error *err);

struct webhook {
        const char *
                id; /* 1 to 64 of A-Z a-z 0-9 _ -, never used before; goes out as X-HopX-Delivery */
        const char *url;       /* as the next two: what the checks accept, or webhook_queue fails */
        const json_t *headers; /* name → string; NULL: none */
        const char *secret;    /* key of the signature; NULL or "": not signed */
        char *body;            /* the final JSON, from malloc */
        size_t body_size;
};

/* Queues a delivery and takes its body; the rest is borrowed during the call. @on_queued(@arg, 0, NULL) comes later,
 * when the delivery is safely on the disk; or @on_queued(@arg, negative errno, why) when it cannot be put there.
 * On failure nothing is taken and @on_queued is not called: -EINVAL, -EPERM: see the checks; -EFBIG: the body or the
 * secret is too large; -EEXIST: the id is in use; -ENOBUFS: too much is queued; -ESHUTDOWN: after webhooks_close. */
int webhook_queue(struct webhooks *w, const struct webhook *spec,
                  void (*on_queued)(void *arg, int result, const struct error *err), void *arg,
                  struct error *err);

/* --- turns --- */

/* Bodies may be large, and a thousand may be wanted in one moment. So who has yet to make one waits for its turn,
 * which comes, in order and for a few at once, when there is room for what it queues. Embedded in its owner's object;
 * zeroed but for the functions. */
struct webhook_turn {
        struct list link;
        /* Called on the loop, never from inside a function of this header: make the body, queue it, and then, now or
         * later, call webhook_turn_done or webhook_turn_again, once. */
        void (*on_turn)(struct webhook_turn *t);
        /* Instead, from webhooks_close: it will never have its turn. */
        void (*on_closed)(struct webhook_turn *t);
};

/* -ESHUTDOWN: after webhooks_close; nothing will be called. */
int webhook_turn_wait(struct webhooks *w, struct webhook_turn *t);
/* Somebody's turn is over: the delivery is queued, or never will be. A queue that closes waits for this. */
void webhook_turn_done(struct webhooks *w);
/* It could not be queued, for a reason that may pass, like a full disk: it waits again, behind the others, and nobody
 * has a turn for a while, which grows each time. When the queue closes, on_closed is called from here. */
void webhook_turn_again(struct webhooks *w, struct webhook_turn *t);
