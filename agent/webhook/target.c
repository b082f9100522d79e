/* SPDX-License-Identifier: Apache-2.0 */

/* A URL as a target. libcurl takes it apart, because libcurl is going to use it: two parsers that disagree about
 * where the host is are how such filters are got around. What is unusual enough to be a trick is refused first. */

#include "agent/webhook/target.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "agent/base/limits.h"
#include "agent/base/str.h"

#define FIELD "/callback_url"

static int check_text(const char *url, struct error *err)
{
        const char *rest = strstr(url, "://");

        if (strlen(url) > LIMIT_WEBHOOK_URL)
                return error_set_field(err, -EINVAL, FIELD,
                                       "callback_url: longer than %zu characters",
                                       LIMIT_WEBHOOK_URL);
        for (const char *p = url; *p; p++)
                if (*p <= ' ' || *p >= 0x7f || *p == '\\')
                        return error_set_field(
                                err, -EINVAL, FIELD,
                                "callback_url: has a character that URLs must write as %%XX");
        if (!rest || (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0))
                return error_set_field(err, -EINVAL, FIELD,
                                       "callback_url: must begin with http:// or https://");
        if (strchr("/?#:", rest[3])) /* also the end; libcurl forgives "http:///host" */
                return error_set_field(err, -EINVAL, FIELD, "callback_url: has no host");
        return 0;
}

/* Lower case, without brackets and without the dot that ends a complete name. */
static int copy_host(const char *host, struct target *ret, struct error *err)
{
        bool is_ipv6 = host[0] == '[';
        size_t size = strlen(host);

        if (is_ipv6) {
                host++;
                size -= 2;
        } else if (size > 0 && host[size - 1] == '.') {
                size--;
        }
        if (size == 0 || size >= sizeof(ret->host))
                return error_set_field(err, -EINVAL, FIELD,
                                       "callback_url: the host is empty or too long");
        for (size_t i = 0; i < size; i++) {
                char c = host[i];

                ret->host[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
        }
        ret->host[size] = '\0';

        /* libcurl has resolved %XX in it by now. */
        if (strspn(ret->host, is_ipv6 ? "0123456789abcdef:."
                                      : "abcdefghijklmnopqrstuvwxyz0123456789-_.") != size)
                return error_set_field(
                        err, -EINVAL, FIELD,
                        "callback_url: the host has characters that names do not have");
        return 0;
}

static int parse(CURLU *parts, const char *url, struct target *ret, struct error *err)
{
        CURLUcode code = curl_url_set(parts, CURLUPART_URL, url, CURLU_DISALLOW_USER);
        char *host = NULL;
        char *port = NULL;
        uint64_t n;
        int r;

        if (code == CURLUE_USER_NOT_ALLOWED)
                return error_set_field(
                        err, -EINVAL, FIELD,
                        "callback_url: must not hold a user name; send callback_headers instead");
        if (code != CURLUE_OK)
                return error_set_field(err, -EINVAL, FIELD, "callback_url: not a URL (%s)",
                                       curl_url_strerror(code));

        if (curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
            str_parse_u64(port, &n) < 0 || n == 0) {
                curl_free(port);
                return error_set_field(err, -EINVAL, FIELD, "callback_url: the port is wrong");
        }
        curl_free(port);

        if (curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK)
                return error_set_field(err, -EINVAL, FIELD, "callback_url: has no host");
        r = copy_host(host, ret, err);
        curl_free(host);
        return r;
}

/* See the header. */
int target_from_url(const struct target_rules *rules, const char *url, struct target *ret,
                    struct error *err)
{
        struct target_address address;
        struct target target;
        CURLU *parts;
        int r;

        r = check_text(url, err);
        if (r < 0)
                return r;
        parts = curl_url();
        if (!parts)
                return error_set(err, -ENOMEM, "callback_url");
        r = parse(parts, url, &target, err);
        curl_url_cleanup(parts);
        if (r < 0)
                return r;

        if (!target_name_is_allowed(rules, target.host) ||
            (target_parse_address(target.host, &address) &&
             !target_address_is_allowed(rules, target.host, &address)))
                return error_set_field(
                        err, -EPERM, FIELD,
                        "callback_url: sending to %.64s is not allowed (see the options "
                        "webhook-allow, webhook-deny and webhook-metadata)",
                        target.host);
        *ret = target;
        return 0;
}
