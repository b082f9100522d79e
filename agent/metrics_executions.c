/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/metrics_executions.h"

#define X(name, text) [EXECUTION_##name] = (text),
const char *const execution_kind_names[N_EXECUTION_KINDS] = { EXECUTION_KINDS(X) };
const char *const execution_mode_names[N_EXECUTION_MODES] = { EXECUTION_MODES(X) };
const char *const execution_outcome_names[N_EXECUTION_OUTCOMES] = { EXECUTION_OUTCOMES(X) };
#undef X

/* See the header. */
void execution_metrics_count(struct execution_metrics *m, enum execution_kind kind,
                             enum execution_mode mode, enum execution_outcome outcome,
                             uint64_t duration_us)
{
        m->counts[kind][mode][outcome]++;
        if (outcome < EXECUTION_NOT_STARTED)
                histogram_record(&m->duration[kind], duration_us);
}

static uint64_t sum(const struct execution_metrics *m, enum execution_outcome from)
{
        uint64_t n = 0;

        for (int kind = 0; kind < N_EXECUTION_KINDS; kind++)
                for (int mode = 0; mode < N_EXECUTION_MODES; mode++)
                        for (int outcome = (int)from; outcome < EXECUTION_REFUSED; outcome++)
                                n += m->counts[kind][mode][outcome];
        return n;
}

/* See the header. */
uint64_t execution_metrics_total(const struct execution_metrics *m)
{
        return sum(m, EXECUTION_SUCCESS);
}

/* See the header. */
uint64_t execution_metrics_failed(const struct execution_metrics *m)
{
        return sum(m, EXECUTION_ERROR);
}
