/* SPDX-License-Identifier: Apache-2.0 */

/* The page is the same for everybody but for one thing: the nonce of its Content-Security-Policy, which allows the
 * style elements that the terminal makes at run time and nobody else's. Everything is relative to the page's own
 * address, so that it also works behind a proxy that serves the agent below a prefix. */

#include "handlers/console/console.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/buf.h"
#include "agent/base/id.h"
#include "agent/config.h"
#include "agent/http/accept.h"
#include "agent/http/request.h"
#include "handlers/console/embedded.h"

/* Where the page wants its nonce; once. */
#define NONCE_MARKER "{{nonce}}"

#define PAGE_POLICY                                                                    \
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-%s'; "         \
        "connect-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; " \
        "form-action 'none'; frame-ancestors 'none'"
#define FILE_POLICY \
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/* clang-format off */
const struct json_field console_file_args[] = {
        F_STRING(struct console_file_args, file, .in = IN_PATH, .required = true, .doc = "Name of the file"),
        F_END
};
/* clang-format on */

static size_t size_of(const struct embedded_file *file)
{
        return (size_t)(file->end - file->data);
}

static void set_common_headers(struct request *req, const char *policy)
{
        request_set_header(req, "Content-Security-Policy", policy);
        request_set_header(req, "X-Content-Type-Options", "nosniff");
        request_set_header(req, "Referrer-Policy", "no-referrer");
}

static int reply_page(struct request *req, const struct embedded_file *page)
{
        CLEANUP(buf_done) struct buf text;
        char nonce[ID_SIZE], policy[512];
        const char *marker = memmem(page->data, size_of(page), NONCE_MARKER, strlen(NONCE_MARKER));
        const char *rest;
        int r;

        assert(marker); /* the page is ours */
        rest = marker + strlen(NONCE_MARKER);
        id_new(nonce, "");
        buf_init(&text, 0);
        r = buf_append(&text, page->data, (size_t)(marker - page->data));
        if (r == 0)
                r = buf_append(&text, nonce, strlen(nonce));
        if (r == 0)
                r = buf_append(&text, rest, (size_t)(page->end - rest));
        if (r < 0)
                return request_fail(req, PROBLEM_UNAVAILABLE, "no memory for the page");

        (void)snprintf(policy, sizeof(policy), PAGE_POLICY, nonce);
        set_common_headers(req, policy);
        request_set_header(req, "Cache-Control", "no-store");
        return request_reply_bytes(req, 200, page->type, text.data, text.size);
}

/* See the header. */
bool console_reply(struct request *req)
{
        const struct embedded_file *page = embedded_page();

        if (!request_app(req)->config->console || !page)
                return false;
        request_set_header(req, "Vary", "Accept");
        if (!accept_prefers(request_header(req, "Accept"), "text/html", "application/json"))
                return false;
        (void)reply_page(req, page);
        return true;
}

/* Answers GET /console/{file}. Browsers ask each time, and get a body when it is another one than they have: after an
 * update all parts of the page are of the same version. */
int console_file_get(struct request *req)
{
        const struct console_file_args *args = request_args(req);
        const struct embedded_file *file = embedded_find(args->file);
        const char *known = request_header(req, "If-None-Match");

        if (!request_app(req)->config->console)
                return request_fail(req, PROBLEM_NOT_FOUND, "the console is off (option console)");
        if (!embedded_page())
                return request_fail(req, PROBLEM_NOT_FOUND, "this build has no console");
        if (!file)
                return request_fail(req, PROBLEM_NOT_FOUND, "the console has no file of this name");

        set_common_headers(req, FILE_POLICY);
        request_set_header(req, "Cache-Control", "no-cache");
        request_set_header(req, "ETag", file->etag);
        if (known && strstr(known, file->etag))
                return request_reply_bytes(req, 304, NULL, "", 0);
        return request_reply_bytes(req, 200, file->type, file->data, size_of(file));
}
