/* SPDX-License-Identifier: Apache-2.0 */

/* A client that leaves meanwhile is not waited for: its request lives that long, and the answer is swallowed. */

#include "handlers/metrics/fresh.h"

#include <stdlib.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/macros.h"
#include "agent/host/host.h"
#include "agent/http/request.h"

struct fresh {
        struct host_wait wait;
        struct request *request; /* a reference */
        int (*answer)(struct request *req);
};

static void on_ready(struct host_wait *w)
{
        struct fresh *f = container_of(w, struct fresh, wait);

        (void)f->answer(f->request);
        request_unref(f->request);
        free(f);
}

/* See the header. */
int metrics_when_fresh(struct request *req, int (*answer)(struct request *req))
{
        struct fresh *f = xnew(struct fresh);

        f->request = request_ref(req);
        f->answer = answer;
        f->wait.ready = on_ready;
        if (host_wait(request_app(req)->host, &f->wait) > 0)
                return 0;
        /* There are fresh readings; or too many wait, and the old ones have to do. */
        on_ready(&f->wait);
        return 0;
}
