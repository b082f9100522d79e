/* SPDX-License-Identifier: Apache-2.0 */

/* The lists of where deliveries may go and where not. The same place has many names: an IPv4 address can stand
 * inside several kinds of IPv6 addresses, and 0.0.0.0 reaches this very machine; a denial covers them all. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/str.h"
#include "agent/webhook/target.h"

/* Where clouds serve metadata, often with credentials in it, to whoever asks from inside the machine. */
static const struct target_network metadata_networks[] = {
        { { 4, { 169, 254 } }, 16 },           /* link-local: most clouds */
        { { 4, { 100, 100, 100, 200 } }, 32 }, /* Alibaba */
        { { 4, { 168, 63, 129, 16 } }, 32 },   /* Azure's host */
        { { 4, { 192, 0, 0, 192 } }, 32 },     /* Oracle */
        { { 16, { 0xfe, 0x80 } }, 10 },        /* link-local */
        { { 16, { 0xfd, 0x00, 0x0e, 0xc2, [15] = 0x54, [14] = 0x02 } }, 128 }, /* fd00:ec2::254 */
        { { 16, { 0xfd, 0x20, 0x00, 0xce, [15] = 0x54, [14] = 0x02 } }, 128 }, /* fd20:ce::254 */
};

static const char *const metadata_names[] = {
        "metadata",      "metadata.google.internal",   "metadata.goog",
        "instance-data", "instance-data.ec2.internal",
};

/* Takes an IPv4 address out of ::ffff:a.b.c.d, which the kernel connects to as a.b.c.d. */
static void unmap(struct target_address *a)
{
        static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

        if (a->size != 16 || memcmp(a->bytes, prefix, sizeof(prefix)) != 0)
                return;
        memmove(a->bytes, a->bytes + 12, 4);
        memset(a->bytes + 4, 0, 12);
        a->size = 4;
}

/* See the header. */
bool target_parse_address(const char *text, struct target_address *ret)
{
        struct target_address a = { .size = 16 };
        struct in_addr v4;

        if (inet_pton(AF_INET6, text, a.bytes) != 1) {
                if (strchr(text, ' ') ||
                    inet_aton(text, &v4) == 0) /* it ignores what follows a space */
                        return false;
                a.size = 4;
                memcpy(a.bytes, &v4, sizeof(v4));
        }
        unmap(&a);
        *ret = a;
        return true;
}

static bool is_name(const char *text)
{
        size_t size;

        if (str_has_prefix(text, "*."))
                text += 2;
        size = strlen(text);
        return size > 0 && size < TARGET_HOST_SIZE && text[0] != '.' && !strstr(text, "..") &&
               strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
                       size;
}

static void add_name(struct target_list *list, const char *text)
{
        size_t size = strlen(text);
        char *name = xstrndup(text, text[size - 1] == '.' ? size - 1 : size);

        for (char *p = name; *p; p++)
                if (*p >= 'A' && *p <= 'Z')
                        *p = (char)(*p + ('a' - 'A'));
        list->names = strv_append(list->names, name);
}

static int add_network(struct target_list *list, const char *text, struct error *err)
{
        CLEANUP(mem_free) char *address = xstrdup(text);
        char *slash = strchr(address, '/');
        struct target_network n = { 0 };
        uint64_t max, min, bits;

        if (slash)
                *slash = '\0';
        if (!target_parse_address(address, &n.address))
                return error_set_field(err, -EINVAL, "", "'%.64s' is no network", text);

        /* ::ffff:10.0.0.0/104 is 10.0.0.0/8 */
        max = n.address.size == 4 && !strchr(address, ':') ? 32 : 128;
        min = n.address.size == 4 ? max - 32 : 0;
        bits = max;
        if (slash && (str_parse_u64(slash + 1, &bits) < 0 || bits < min || bits > max))
                return error_set_field(err, -EINVAL, "", "'%.64s': the part behind / is wrong",
                                       text);
        n.bits = (unsigned)(bits - min);

        list->networks = xrealloc_array(list->networks, list->n_networks + 1, sizeof(n));
        list->networks[list->n_networks++] = n;
        return 0;
}

/* See the header. */
int target_list_add(struct target_list *list, const char *text, struct error *err)
{
        struct target_address ignored;

        if (strchr(text, '/') || target_parse_address(text, &ignored))
                return add_network(list, text, err);
        if (!is_name(text))
                return error_set_field(err, -EINVAL, "",
                                       "'%.64s' is no address, network or host name", text);
        add_name(list, text);
        return 0;
}

static void list_done(struct target_list *list)
{
        free(list->networks);
        strv_free(list->names);
        *list = (struct target_list){ 0 };
}

static int list_fill(struct target_list *list, char *const *entries, struct error *err)
{
        int r = 0;

        for (size_t i = 0; r == 0 && entries && entries[i]; i++)
                r = target_list_add(list, entries[i], err);
        return r;
}

/* See the header. */
int target_rules_init(struct target_rules *rules, char *const *allow, char *const *deny,
                      bool deny_metadata, struct error *err)
{
        struct target_rules new = { .deny_metadata = deny_metadata };
        int r;

        r = list_fill(&new.allow, allow, err);
        if (r < 0)
                error_wrap(err, "webhook-allow");
        if (r == 0) {
                r = list_fill(&new.deny, deny, err);
                if (r < 0)
                        error_wrap(err, "webhook-deny");
        }
        if (r < 0) {
                target_rules_done(&new);
                return r;
        }
        *rules = new;
        return 0;
}

/* Frees the lists; harmless on zeroed rules. */
void target_rules_done(struct target_rules *rules)
{
        list_done(&rules->allow);
        list_done(&rules->deny);
}

static bool network_has(const struct target_network *n, const struct target_address *a)
{
        unsigned whole = n->bits / 8;
        unsigned rest = n->bits % 8;

        if (n->address.size != a->size || memcmp(n->address.bytes, a->bytes, whole) != 0)
                return false;
        return rest == 0 || ((n->address.bytes[whole] ^ a->bytes[whole]) >> (8 - rest)) == 0;
}

static bool networks_have(const struct target_network *networks, size_t n,
                          const struct target_address *a)
{
        for (size_t i = 0; i < n; i++)
                if (network_has(&networks[i], a))
                        return true;
        return false;
}

static bool names_have(char *const *names, const char *name)
{
        for (size_t i = 0; names && names[i]; i++) {
                size_t suffix = strlen(names[i]) - 1;

                if (str_equal(names[i], name))
                        return true;
                if (names[i][0] == '*' && strlen(name) > suffix &&
                    str_equal(name + strlen(name) - suffix, names[i] + 1))
                        return true;
        }
        return false;
}

/* Where an IPv4 address stands in IPv6 addresses with this prefix. */
struct embedding {
        struct target_network prefix;
        uint8_t at[4]; /* its bytes */
};

/* Of what a gateway may make IPv4. Of NAT64's local prefix a part is used, and nobody knows how long a one. */
/* clang-format off */
static const struct embedding embeddings[] = {
        { { { 16, { 0 } }, 96 },                          { 12, 13, 14, 15 } }, /* ::a.b.c.d */
        { { { 16, { [8] = 0xff, 0xff } }, 96 },           { 12, 13, 14, 15 } }, /* SIIT's ::ffff:0:a.b.c.d */
        { { { 16, { 0x20, 0x02 } }, 16 },                 {  2,  3,  4,  5 } }, /* 6to4's 2002:abcd:: */
        { { { 16, { 0, 0x64, 0xff, 0x9b } }, 96 },        { 12, 13, 14, 15 } }, /* NAT64's 64:ff9b::a.b.c.d */
        { { { 16, { 0, 0x64, 0xff, 0x9b, 0, 1 } }, 48 },  { 12, 13, 14, 15 } }, /* and locally, with a prefix of 96 */
        { { { 16, { 0, 0x64, 0xff, 0x9b, 0, 1 } }, 48 },  {  6,  7,  9, 10 } }, /* 48 */
        { { { 16, { 0, 0x64, 0xff, 0x9b, 0, 1 } }, 48 },  {  7,  9, 10, 11 } }, /* 56 */
        { { { 16, { 0, 0x64, 0xff, 0x9b, 0, 1 } }, 48 },  {  9, 10, 11, 12 } }, /* or 64 bits */
};
/* clang-format on */

static bool is_denied_as(const struct target_rules *rules, const struct target_address *a)
{
        return networks_have(rules->deny.networks, rules->deny.n_networks, a) ||
               (rules->deny_metadata &&
                networks_have(metadata_networks, ARRAY_LEN(metadata_networks), a));
}

static bool is_denied_inside(const struct target_rules *rules, const struct target_address *a)
{
        for (size_t i = 0; i < ARRAY_LEN(embeddings); i++) {
                const struct embedding *e = &embeddings[i];
                struct target_address inner = { .size = 4 };

                if (!network_has(&e->prefix, a))
                        continue;
                for (unsigned k = 0; k < 4; k++)
                        inner.bytes[k] = a->bytes[e->at[k]];
                /* Zeros are rather those of a longer prefix than a part of 0.0.0.0/8. */
                if (inner.bytes[0] == 0 && e->prefix.bits == 48 && e->at[0] != 12)
                        continue;
                if (is_denied_as(rules, &inner))
                        return true;
        }
        return false;
}

static bool is_denied(const struct target_rules *rules, const struct target_address *a)
{
        static const struct target_address any4 = { .size = 4 }, any6 = { .size = 16 };
        static const struct target_address loopback4 = { 4, { 127, [3] = 1 } };
        static const struct target_address loopback6 = { 16, { [15] = 1 } };

        if (is_denied_as(rules, a))
                return true;
        if (memcmp(a, &any4, sizeof(any4)) == 0 || memcmp(a, &any6, sizeof(any6)) == 0)
                return is_denied_as(rules, &loopback4) || is_denied_as(rules, &loopback6);
        return is_denied_inside(rules, a);
}

/* See the header. */
bool target_name_is_allowed(const struct target_rules *rules, const char *name)
{
        for (size_t i = 0; rules->deny_metadata && i < ARRAY_LEN(metadata_names); i++)
                if (str_equal(metadata_names[i], name))
                        return false;
        if (names_have(rules->deny.names, name))
                return false;
        /* Without networks in the list nothing that comes later can allow it. */
        return !rules->allow.names || rules->allow.n_networks > 0 ||
               names_have(rules->allow.names, name);
}

/* See the header. */
bool target_address_is_allowed(const struct target_rules *rules, const char *name,
                               const struct target_address *address)
{
        if (is_denied(rules, address))
                return false;
        if (!rules->allow.names && rules->allow.n_networks == 0)
                return true;
        return names_have(rules->allow.names, name) ||
               networks_have(rules->allow.networks, rules->allow.n_networks, address);
}

/* See the header. */
bool target_socket_is_allowed(const struct target_rules *rules, const char *name,
                              const struct sockaddr *address, size_t size)
{
        struct target_address a = { 0 };

        if (address->sa_family == AF_INET && size >= sizeof(struct sockaddr_in)) {
                a.size = 4;
                memcpy(a.bytes, &((const struct sockaddr_in *)address)->sin_addr, 4);
        } else if (address->sa_family == AF_INET6 && size >= sizeof(struct sockaddr_in6)) {
                a.size = 16;
                memcpy(a.bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
                unmap(&a);
        } else {
                return false;
        }
        return target_address_is_allowed(rules, name, &a);
}
