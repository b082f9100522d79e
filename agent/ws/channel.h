/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A WebSocket connection that speaks JSON: one object per message, told apart by its member "type", or by another one
 * where clients have it so. What a client may send is a table of message types, each with a field table, decoded as
 * request bodies are; what is wrong with a message is told in an "error" message, and the connection goes on.
 * {"type":"ping"} is answered by the channel. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "agent/base/error.h"
#include "agent/base/ring.h"
#include "agent/http/problem.h"
#include "agent/json/field.h"
#include "agent/ws/ws.h"

struct channel;
struct loop;

struct message_type {
        const char *name; /* NULL ends the table */
        const struct json_field *fields;
        size_t args_size;
        void (*handle)(void *arg, const void *args); /* @args are good until it returns */
};

struct channel_ops {
        const struct message_type *types;
        const char *member; /* that has the name of a message's type; NULL: "type" */
        void (*on_binary)(void *arg, const char *data,
                          size_t size); /* NULL: binary messages are JSON, too */
        /* A message could not be understood, and an "error" has been sent. May be NULL. */
        void (*on_refused)(void *arg);
        void (*on_writable)(void *arg); /* as in struct ws_ops, and so are the rest */
        void (*on_shutdown)(void *arg);
        void (*on_closed)(void *arg);
};

/* As ws_accept, after ws_admit. */
struct channel *channel_accept(struct ws_server *s, struct loop *l, struct request *req,
                               const struct channel_ops *ops, void *arg);

/* Takes @message, an object of at most WS_FRAME_SIZE bytes. */
void channel_send(struct channel *ch, json_t *message);
/* The same for a message that is text already, which is copied. */
void channel_send_text(struct channel *ch, const char *text, size_t size);
/* An "error" message in the shape of all errors. @field is a JSON pointer or NULL. */
void channel_send_error(struct channel *ch, enum problem p, const char *field, const char *message);

void channel_want_write(struct channel *ch);
/* In on_writable only: room for one frame of up to WS_FRAME_SIZE bytes, and sending it. */
char *channel_buffer(struct channel *ch);
void channel_write(struct channel *ch, size_t size);
/* In on_writable only: sends one frame with as much of the text as fits, {"type":@type,"data":…,"offset":@offset,
 * "end":…,"timestamp":…}; end is the offset behind it. Ill-formed UTF-8 is repaired; a character of which the rest is
 * still to come is held back, unless @is_end. Returns how many bytes were taken; 0: nothing was sent. */
size_t channel_write_text(struct channel *ch, const char *type, uint64_t offset,
                          const struct ring_slice *slices, unsigned n_slices, bool is_end);
/* Lets frames follow each other without a pause; see ws_set_burst. */
void channel_set_burst(struct channel *ch);
/* Back-pressure: no messages while paused. */
void channel_pause(struct channel *ch, bool pause);
/* Whether the client has proved that it got everything that was sent. Also good in on_closed. */
bool channel_was_taken(const struct channel *ch);
/* See ws_close and ws_finish. */
void channel_close(struct channel *ch, enum ws_code code, const char *reason);
void channel_finish(struct channel *ch);

/* Finds the row of @message, whose type is its @member, and fills its arguments (to be freed with free). Errors as
 * json_decode. */
int channel_decode(const struct message_type *types, const char *member, json_t *message,
                   const struct message_type **ret, void **ret_args, struct error *err);
