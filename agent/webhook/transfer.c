/* SPDX-License-Identifier: Apache-2.0 */

/* One request, with everything about libcurl that could be a surprise turned off: redirects, proxies from the
 * environment, .netrc, connections used again, other protocols. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define LOG_MODULE "webhook"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/log.h"
#include "agent/webhook/retry.h"
#include "agent/webhook/transfers_private.h"
#include "build_config.h"

/* The one place where the address is known for certain, whatever the name resolved to a moment ago. */
static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
        struct transfer *t = arg;
        int fd;

        if (purpose != CURLSOCKTYPE_IPCXN ||
            !target_socket_is_allowed(t->owner->rules, t->host, &address->addr, address->addrlen)) {
                t->n_refused++;
                return CURL_SOCKET_BAD;
        }
        t->n_tried++;
        fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    address->protocol);
        return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static void begin_answer(struct transfer *t, const char *line, size_t size)
{
        unsigned status = 0;
        char text[32];

        (void)snprintf(text, sizeof(text), "%.*s", (int)MIN(size, sizeof(text) - 1), line);
        if (sscanf(text, "HTTP/%*s %3u", &status) == 1) {
                t->status = status;
                t->retry_after_ms = -1;
        }
}

static void take_retry_after(struct transfer *t, const char *value, size_t size)
{
        char text[64];

        while (size > 0 && (value[0] == ' ' || value[0] == '\t')) {
                value++;
                size--;
        }
        while (size > 0 && strchr(" \t\r\n", value[size - 1]))
                size--;
        if (size >= sizeof(text))
                return;
        memcpy(text, value, size);
        text[size] = '\0';
        t->retry_after_ms = retry_after_ms(text, clock_realtime_s());
}

static size_t on_header(char *line, size_t one, size_t size, void *arg)
{
        static const char retry_after[] = "Retry-After:";
        struct transfer *t = arg;

        (void)one;
        t->n_header_bytes += size;
        if (t->n_header_bytes > LIMIT_WEBHOOK_ANSWER) {
                t->has_overflow = true;
                return 0;
        }
        if (size > 5 && memcmp(line, "HTTP/", 5) == 0)
                begin_answer(t, line, size);
        else if (size > strlen(retry_after) &&
                 strncasecmp(line, retry_after, strlen(retry_after)) == 0)
                take_retry_after(t, line + strlen(retry_after), size - strlen(retry_after));
        else if (line[0] == '\r' || line[0] == '\n') /* the end; 1xx are not the answer yet */
                t->has_answer = t->has_answer || t->status >= 200;
        return size;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
        struct transfer *t = arg;

        (void)data;
        (void)one;
        t->n_body_bytes += size;
        if (t->n_body_bytes <= LIMIT_WEBHOOK_ANSWER)
                return size;
        t->has_overflow = true;
        return 0; /* ends the transfer */
}

struct transfer *transfer_free(struct transfer *t)
{
        if (!t)
                return NULL;
        curl_easy_cleanup(t->easy);
        for (struct curl_slist *h = t->headers; h; h = h->next)
                explicit_bzero(h->data, strlen(h->data)); /* tokens */
        curl_slist_free_all(t->headers);
        free(t->body);
        free(t);
        return NULL;
}

static enum transfer_outcome outcome_of(const struct transfer *t, CURLcode code)
{
        /* With a complete head of an answer it is known what the receiver thinks, however the rest went. */
        if (t->has_answer)
                return TRANSFER_ANSWERED;
        if (t->n_refused > 0 && t->n_tried == 0)
                return TRANSFER_REFUSED;
        /* Anything else may pass, even a wrong certificate or a file of certificates that is missing. */
        return code == CURLE_URL_MALFORMAT ? TRANSFER_BROKEN : TRANSFER_LOST;
}

void transfer_finish(struct transfer *t, CURLcode code)
{
        struct transfer_result result = {
                .outcome = outcome_of(t, code),
                .status = t->has_answer ? t->status : 0,
                .retry_after_ms = t->has_answer ? t->retry_after_ms : -1,
        };
        void (*done)(void *arg, const struct transfer_result *result) = t->done;
        char error[CURL_ERROR_SIZE];
        void *arg = t->arg;

        if (result.outcome == TRANSFER_REFUSED)
                (void)snprintf(error, sizeof(error),
                               "sending to %.128s is not allowed: its address is denied", t->host);
        else if (t->has_overflow)
                (void)snprintf(error, sizeof(error), "the answer's headers are too long");
        else if (code == CURLE_OK)
                (void)snprintf(error, sizeof(error), "no answer");
        else
                (void)snprintf(error, sizeof(error), "%s",
                               t->error[0] ? t->error : curl_easy_strerror(code));
        result.error = error;

        (void)curl_multi_remove_handle(t->owner->multi, t->easy);
        list_remove(&t->link);
        transfer_free(t);
        done(arg, &result);
}

static void set_tls(struct transfer *t, const char *ca_file)
{
        curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, 1L);
        curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, 2L);
        if (ca_file) {
                curl_easy_setopt(t->easy, CURLOPT_CAINFO, ca_file);
                curl_easy_setopt(t->easy, CURLOPT_CAPATH, NULL);
        } else if (t->owner->ca_path) {
                curl_easy_setopt(t->easy, CURLOPT_CAINFO, NULL);
                curl_easy_setopt(t->easy, CURLOPT_CAPATH, t->owner->ca_path);
        }
}

static void set_surprises_off(CURL *easy)
{
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "https");
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* not even those of the environment */
        curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
        curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L); /* a receiver may have moved since */
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        /* Giving up must not wait for a name server. */
        curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
}

static void set_request(struct transfer *t, const struct transfer_request *request)
{
        CURL *easy = t->easy;

        curl_easy_setopt(easy, CURLOPT_URL, request->url);
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, t->body); /* not copied */
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, "vm-agent/" VM_AGENT_VERSION);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
}

static void set_callbacks(struct transfer *t)
{
        CURL *easy = t->easy;

        curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
}

/* See the header. */
int transfer_start(struct transfers *owner, const struct transfer_request *request,
                   void (*done)(void *arg, const struct transfer_result *result), void *arg)
{
        struct transfer *t = xnew(struct transfer);

        t->owner = owner;
        t->headers = request->headers;
        t->body = request->body;
        t->retry_after_ms = -1;
        t->done = done;
        t->arg = arg;
        (void)snprintf(t->host, sizeof(t->host), "%s", request->host);
        if (transfers_open(owner) == 0)
                t->easy = curl_easy_init();
        if (!t->easy) {
                transfer_free(t);
                return -ENOMEM;
        }

        set_surprises_off(t->easy);
        set_tls(t, request->ca_file);
        set_request(t, request);
        set_callbacks(t);
        if (curl_multi_add_handle(owner->multi, t->easy) != CURLM_OK) {
                transfer_free(t);
                return -ENOMEM;
        }
        list_append(&owner->running, &t->link);
        return 0;
}
