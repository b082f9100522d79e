/* SPDX-License-Identifier: Apache-2.0 */

/* MHD's access handler: it is called with the headers, with each piece of the body, with its end, and again whenever a
 * request that waits is woken. */

#include "agent/http/body_private.h"
#include "agent/http/request_private.h"

static enum MHD_Result take_piece(struct request *req, const char *data, size_t *size)
{
        if (req->is_suspended) /* MHD calls once more while it is being suspended */
                return MHD_YES;
        if (!request_feed(req, data, *size))
                return MHD_NO;
        *size = 0;
        return MHD_YES;
}

/* See request_private.h. */
enum MHD_Result request_access(struct request *req, const char *method, const char *url,
                               const char *version, const char *data, size_t *size)
{
        if (req->state == REQUEST_HEADERS) {
                request_begin(req, method, url, version);
                if (req->upload)
                        return body_access(req, data, size);
                if (req->state == REQUEST_REPLYING && !request_can_drain(req))
                        return request_queue_response(req);
                return MHD_YES;
        }
        if (req->upload)
                return body_access(req, data, size);
        if (*size > 0)
                return take_piece(req, data, size);

        if (req->state == REQUEST_BODY && !req->is_dispatched)
                request_dispatch(req);
        if (req->state == REQUEST_GONE)
                return MHD_NO;
        if (!req->is_queued && (req->state == REQUEST_REPLYING || req->spaces > 0))
                return request_queue_response(req);
        if (!req->is_queued && !req->is_suspended)
                request_suspend(req);
        return MHD_YES;
}
