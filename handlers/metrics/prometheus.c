/* SPDX-License-Identifier: Apache-2.0 */

/* GET /metrics/prometheus: the text that a Prometheus server collects. It says by Accept which format it wants. */

#include "agent/app.h"
#include "agent/http/accept.h"
#include "agent/http/request.h"
#include "handlers/metrics/exposition.h"
#include "handlers/metrics/families.h"
#include "handlers/metrics/fresh.h"
#include "handlers/metrics/metrics.h"
#include "handlers/metrics/readings.h"

static int answer(struct request *req, bool is_openmetrics)
{
        struct readings r;
        size_t size = 0;
        char *text;

        readings_take(request_app(req), &r);
        text = exposition_write(families, is_openmetrics, &r, &size);
        if (!text)
                return request_fail(req, PROBLEM_UNAVAILABLE,
                                    "there is not enough memory for the answer");
        return request_reply_text(
                req, 200, is_openmetrics ? EXPOSITION_OPENMETRICS : EXPOSITION_TEXT, text, size);
}

static int answer_text(struct request *req)
{
        return answer(req, false);
}

static int answer_openmetrics(struct request *req)
{
        return answer(req, true);
}

/* Answers GET /metrics/prometheus. */
int metrics_prometheus_get(struct request *req)
{
        bool is_openmetrics = accept_prefers(request_header(req, "Accept"),
                                             EXPOSITION_OPENMETRICS_TYPE, "text/plain");

        request_set_header(req, "Vary", "Accept");
        return metrics_when_fresh(req, is_openmetrics ? answer_openmetrics : answer_text);
}
