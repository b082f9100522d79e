-- SPDX-License-Identifier: Apache-2.0
--
-- Sends a POST when a body is given after "--", and prints the result as one line of JSON, which is
-- easier to check than what wrk prints by itself. The request is fixed: wrk formats it once.

function init(args)
    if #args > 0 then
        wrk.method = "POST"
        wrk.body = args[1]
        wrk.headers["Content-Type"] = "application/json"
    end
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\nRESULT {"requests": %d, "seconds": %.6f, "refused": %d, "broken": %d}\n',
        summary.requests, summary.duration / 1e6, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
