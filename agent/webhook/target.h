/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where deliveries may go. A URL is judged by its host before anything is sent; and the address that is really
 * connected to is judged again, because what a name stands for is its owner's choice. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "agent/base/error.h"

/* An IPv4 or IPv6 address; an IPv4 address in IPv6 clothes (::ffff:a.b.c.d) is kept as IPv4. */
struct target_address {
        unsigned size; /* 4 or 16 bytes */
        uint8_t bytes[16];
};

struct target_network {
        struct target_address address;
        unsigned bits;
};

struct target_list {
        struct target_network *networks;
        size_t n_networks;
        char **names; /* lower case, without a dot at the end; "*.example.com" for all below it */
};

struct target_rules {
        struct target_list allow; /* if it is not empty, only these */
        struct target_list deny;  /* wins */
        bool deny_metadata;
};

/* What a URL points to. */
#define TARGET_HOST_SIZE 256
struct target {
        char host[TARGET_HOST_SIZE]; /* lower case, no dot at the end; IPv6 without brackets */
};

/* Parses one entry of a list, such as "10.0.0.0/8", "::1" or "*.example.com", into @list.
 * -EINVAL: it is none of these. */
int target_list_add(struct target_list *list, const char *text, struct error *err);
/* Lists may be NULL. Nothing is left to free on failure. */
int target_rules_init(struct target_rules *rules, char *const *allow, char *const *deny,
                      bool deny_metadata, struct error *err);
void target_rules_done(struct target_rules *rules);

/* An address as text: all the ways that a resolver understands, such as 127.1, 0x7f000001, 2130706433. */
bool target_parse_address(const char *text, struct target_address *ret);

/* May a delivery go to host @name, as far as the name alone tells? */
bool target_name_is_allowed(const struct target_rules *rules, const char *name);
/* May a delivery to host @name go to @address? */
bool target_address_is_allowed(const struct target_rules *rules, const char *name,
                               const struct target_address *address);
/* The same for what a socket would be connected to. Anything but IPv4 and IPv6 is not allowed. */
bool target_socket_is_allowed(const struct target_rules *rules, const char *name,
                              const struct sockaddr *address, size_t size);

/* Takes @url apart. -EINVAL: no http or https URL with a plain host. -EPERM: a delivery must not go there.
 * err->field is "/callback_url". */
int target_from_url(const struct target_rules *rules, const char *url, struct target *ret,
                    struct error *err);
