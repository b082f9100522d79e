/* SPDX-License-Identifier: Apache-2.0 */

/* Headers that a client chooses go into a request that is otherwise ours: they must not be able to end a line, to
 * say where the body ends or which host is meant, or to pass for what we vouch for. */

#include "agent/webhook/headers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"

/* What frames the message, and what is ours to say. */
static const char *const reserved[] = {
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect",
        "Proxy-Connection",
        "Proxy-Authorization",
        "Content-Encoding",
        "Content-Type",
        "X-HopX-Signature",
        "X-HopX-Timestamp",
        "X-HopX-Delivery",
        "User-Agent",
};

/* "/callback_headers/NAME" with the name as JSON pointers write it. */
static const char *field_of(char dst[128], const char *name)
{
        size_t n = (size_t)snprintf(dst, 128, "/callback_headers/");

        for (const char *p = name; *p && n + 3 < 128; p++) {
                if (*p == '~' || *p == '/') {
                        dst[n++] = '~';
                        dst[n++] = *p == '~' ? '0' : '1';
                } else {
                        dst[n++] = *p;
                }
        }
        dst[n] = '\0';
        return dst;
}

#define blame(err, name, fmt, ...)                                          \
        error_set_field((err), -EINVAL, field_of((char[128]){ 0 }, (name)), \
                        "callback_headers: %.64s: " fmt, (name), ##__VA_ARGS__)

static bool is_token(const char *s)
{
        static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

        return *s && s[strspn(s, token)] == '\0';
}

/* What we send anyway may be said twice. */
static bool is_our_type(const char *name, const char *value)
{
        return strcasecmp(name, "Content-Type") == 0 &&
               strncasecmp(value, "application/json", strlen("application/json")) == 0;
}

static int check_value(const char *name, const json_t *json, struct error *err)
{
        const char *value = json_string_value(json);
        size_t size = json_string_length(json);

        if (!value)
                return blame(err, name, "must be a string");
        if (size > LIMIT_WEBHOOK_HEADER_BYTES)
                return blame(err, name, "is longer than %zu bytes", LIMIT_WEBHOOK_HEADER_BYTES);
        for (size_t i = 0; i < size; i++)
                if (((unsigned char)value[i] < ' ' && value[i] != '\t') || value[i] == 0x7f)
                        return blame(err, name, "has control characters");
        return 0;
}

static int check_name(const char *name, const char *value, struct error *err)
{
        if (strlen(name) > LIMIT_WEBHOOK_HEADER_NAME || !is_token(name))
                return blame(err, name, "is no name of a header");
        for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
                if (strcasecmp(reserved[i], name) == 0 && !is_our_type(name, value))
                        return blame(err, name, "is set by the agent");
        return 0;
}

/* Objects have no key twice, but "A" and "a" are one header. */
static bool has_twin(const json_t *headers, const char *name)
{
        const char *other;
        const json_t *value;

        json_object_foreach((json_t *)headers, other, value) {
                if (other != name && strcmp(other, name) != 0 && strcasecmp(other, name) == 0)
                        return true;
        }
        return false;
}

/* See the header. */
int headers_check(const json_t *headers, struct error *err)
{
        size_t total = 0;
        const char *name;
        const json_t *value;
        int r;

        if (json_object_size(headers) > LIMIT_WEBHOOK_HEADERS)
                return error_set_field(err, -EINVAL, "/callback_headers",
                                       "callback_headers: more than %d headers",
                                       LIMIT_WEBHOOK_HEADERS);
        json_object_foreach((json_t *)headers, name, value) {
                r = check_value(name, value, err);
                if (r == 0)
                        r = check_name(name, json_string_value(value), err);
                if (r == 0 && has_twin(headers, name))
                        r = blame(err, name, "is there twice");
                if (r < 0)
                        return r;
                total += strlen(name) + json_string_length(value);
        }
        if (total > LIMIT_WEBHOOK_HEADER_BYTES)
                return error_set_field(err, -EINVAL, "/callback_headers",
                                       "callback_headers: more than %zu bytes",
                                       LIMIT_WEBHOOK_HEADER_BYTES);
        return 0;
}

/* Appends "NAME: VALUE". For libcurl "NAME:" would mean to leave that header out, and "NAME;" to send it empty. */
static bool add(struct curl_slist **list, const char *name, const char *value)
{
        CLEANUP(mem_free) char *line = NULL;
        struct curl_slist *longer;

        value += strspn(value, " \t");
        line = *value ? xasprintf("%s: %s", name, value) : xasprintf("%s;", name);
        longer = curl_slist_append(*list, line);
        if (longer)
                *list = longer;
        explicit_bzero(line, strlen(line));
        return longer != NULL;
}

/* See the header. */
struct curl_slist *headers_make(const struct headers_values *values)
{
        struct curl_slist *list = NULL;
        char timestamp[24];
        const char *name;
        const json_t *value;
        bool ok;

        (void)snprintf(timestamp, sizeof(timestamp), "%" PRId64, values->timestamp_s);
        /* No "Expect: 100-continue", which costs a round trip, or a second where it is not understood. */
        list = curl_slist_append(NULL, "Expect:");
        ok = list && add(&list, "Content-Type", "application/json") &&
             add(&list, "X-HopX-Delivery", values->id) &&
             add(&list, "X-HopX-Timestamp", timestamp) &&
             (!values->signature || add(&list, "X-HopX-Signature", values->signature));
        json_object_foreach((json_t *)values->custom, name, value) {
                if (strcasecmp(name, "Content-Type") != 0)
                        ok = ok && add(&list, name, json_string_value(value));
        }
        if (!ok) {
                curl_slist_free_all(list);
                return NULL;
        }
        return list;
}
