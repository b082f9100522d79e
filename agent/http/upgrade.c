/* SPDX-License-Identifier: Apache-2.0 */

/* MHD sends the 101 itself and then lends us the socket. Whoever takes it works on a duplicate: MHD's own descriptor
 * is closed at once, so that the connection counts no longer against MHD's limit and has no relay in it. */

#include "agent/http/upgrade.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/base64.h>
#include <nettle/sha1.h>

#include "agent/base/alloc.h"
#include "agent/base/str.h"
#include "agent/http/request_private.h"
#include "agent/http/server.h"
#include "agent/http/server_private.h"
#include "agent/http/upgrade_private.h"

#define GUID          "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 */
#define KEY_SIZE      24                                     /* 16 bytes in base64 */
#define KEY_BYTES     16
#define VERSION       "13"
#define BEARER_PREFIX "bearer."

static const char *header(const struct request *req, const char *name)
{
        return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

/* Cuts the next member off a header's comma-separated list; NULL at its end. */
static char *next_member(char **list)
{
        char *member;

        while ((member = strsep(list, ","))) {
                size_t size;

                member += strspn(member, " \t");
                size = strcspn(member, " \t");
                member[size] = '\0';
                if (size > 0)
                        return member;
        }
        return NULL;
}

struct member_search {
        const char *header;
        const char *member;
        bool is_found;
};

static enum MHD_Result search_member(void *cls, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
        struct member_search *search = cls;

        (void)kind;
        if (value && str_equal_nocase(name, search->header)) {
                CLEANUP(mem_free) char *copy = xstrdup(value);
                char *rest = copy, *member;

                while ((member = next_member(&rest)))
                        search->is_found |= str_equal_nocase(member, search->member);
        }
        return MHD_YES;
}

/* A header may stand there more than once, and each may be a list. */
static bool header_has(const struct request *req, const char *name, const char *member)
{
        struct member_search search = { .header = name, .member = member };

        MHD_get_connection_values(req->conn, MHD_HEADER_KIND, search_member, &search);
        return search.is_found;
}

static bool is_key(const char *key)
{
        struct base64_decode_ctx ctx;
        uint8_t bytes[BASE64_DECODE_LENGTH(KEY_SIZE)];
        size_t size = sizeof(bytes);

        if (!key || strlen(key) != KEY_SIZE)
                return false;
        base64_decode_init(&ctx);
        return base64_decode_update(&ctx, &size, bytes, KEY_SIZE, key) &&
               base64_decode_final(&ctx) && size == KEY_BYTES;
}

/* See upgrade_private.h. */
void upgrade_check(struct request *req)
{
        const char *version = header(req, "Sec-WebSocket-Version");

        if (!str_equal(req->method, "GET") || req->is_http_1_0 ||
            !header_has(req, "Upgrade", "websocket") || !header_has(req, "Connection", "upgrade")) {
                request_set_header(req, "Upgrade", "websocket");
                request_fail(req, PROBLEM_UPGRADE_REQUIRED,
                             "%s is a WebSocket endpoint: it needs GET with the headers "
                             "'Connection: Upgrade' and 'Upgrade: websocket'",
                             req->match.route->path);
        } else if (!str_equal(version, VERSION)) {
                request_set_header(req, "Sec-WebSocket-Version", VERSION);
                request_fail(req, PROBLEM_UPGRADE_REQUIRED,
                             "Sec-WebSocket-Version: only %s is spoken here", VERSION);
        } else if (!is_key(header(req, "Sec-WebSocket-Key"))) {
                request_fail(req, PROBLEM_INVALID_REQUEST,
                             "Sec-WebSocket-Key: expected 16 bytes in base64");
        }
}

/* --- browsers --- */

static bool is_bearer(const char *protocol)
{
        return str_has_prefix(protocol, BEARER_PREFIX);
}

/* See upgrade_private.h. */
char *upgrade_bearer(const struct request *req)
{
        const char *offered = header(req, "Sec-WebSocket-Protocol");
        CLEANUP(mem_free) char *copy = offered ? xstrdup(offered) : NULL;
        char *rest = copy, *protocol;

        while (rest && (protocol = next_member(&rest)))
                if (is_bearer(protocol))
                        return xasprintf("Bearer %s", protocol + strlen(BEARER_PREFIX));
        return NULL;
}

/* What is answered to an offer of subprotocols: browsers insist on one. The token is no answer unless it is all that
 * was offered. A new string, or NULL. */
static char *choose_protocol(const struct request *req)
{
        const char *offered = header(req, "Sec-WebSocket-Protocol");
        CLEANUP(mem_free) char *copy = offered ? xstrdup(offered) : NULL;
        char *rest = copy, *protocol, *token = NULL;

        while (rest && (protocol = next_member(&rest))) {
                if (!is_bearer(protocol))
                        return xstrdup(protocol);
                token = protocol;
        }
        return token ? xstrdup(token) : NULL;
}

/* See upgrade_private.h. */
bool upgrade_is_origin_allowed(const struct request *req)
{
        char *const *allowed = server_options(req->server)->cors_origins;
        const char *origin = header(req, "Origin"), *host = header(req, "Host");
        const char *authority = origin ? strstr(origin, "://") : NULL;

        if (!origin)
                return true;
        for (; allowed && *allowed; allowed++)
                if (str_equal(*allowed, "*") || str_equal(*allowed, origin))
                        return true;
        return authority && str_equal_nocase(authority + 3, host);
}

/* --- the answer --- */

static void accept_key(const char *key, char ret[BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE) + 1])
{
        struct sha1_ctx ctx;
        uint8_t digest[SHA1_DIGEST_SIZE];

        sha1_init(&ctx);
        sha1_update(&ctx, strlen(key), (const uint8_t *)key);
        sha1_update(&ctx, strlen(GUID), (const uint8_t *)GUID);
        sha1_digest(&ctx, sizeof(digest), digest);
        base64_encode_raw(ret, sizeof(digest), digest);
        ret[BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE)] = '\0';
}

static void on_upgrade(void *cls, struct MHD_Connection *conn, void *context, const char *extra,
                       size_t size, MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
        struct request *req = cls;
        const struct upgrade_ops *ops = STEAL(req->upgrade);

        (void)conn;
        (void)context;
        request_set_state(req, REQUEST_UPGRADED);
        ops->take(req->upgrade_arg, fd, extra, size);
        (void)MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
        server_wake(req->server); /* it closes its descriptor on its next turn */
}

/* See upgrade_private.h. */
struct MHD_Response *upgrade_response(struct request *req)
{
        struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgrade, req);
        CLEANUP(mem_free) char *protocol = choose_protocol(req);
        char key[BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE) + 1];

        if (!response)
                return NULL;
        accept_key(header(req, "Sec-WebSocket-Key"), key);
        MHD_add_response_header(response, "Upgrade", "websocket");
        MHD_add_response_header(response, "Sec-WebSocket-Accept", key);
        if (protocol)
                MHD_add_response_header(response, "Sec-WebSocket-Protocol", protocol);
        return response;
}

/* See upgrade_private.h. */
void upgrade_forget(struct request *req)
{
        const struct upgrade_ops *ops = STEAL(req->upgrade);

        if (ops)
                ops->drop(req->upgrade_arg);
}
