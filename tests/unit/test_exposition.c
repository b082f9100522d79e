/* SPDX-License-Identifier: Apache-2.0 */

/* The text, to the letter: parsers of others look at the agent's own in the integration tests. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/histogram.h"
#include "agent/base/macros.h"
#include "handlers/metrics/exposition.h"
#include "handlers/metrics/readings.h"

static void collect_labels(struct exposition *e, const struct readings *r)
{
        (void)r;
        exposition_add(e, (const char *const[]){ "plain", "" }, 1);
        exposition_add(e, (const char *const[]){ "\"q\" \\ \n", "ä" }, UINT64_MAX);
}

static void collect_info(struct exposition *e, const struct readings *r)
{
        (void)r;
        exposition_add(e, (const char *const[]){ "1.2" }, 1);
}

static void collect_histogram(struct exposition *e, const struct readings *r)
{
        static const uint64_t values[] = { 0, 255, 256, 1023, 1024, 5000000 };
        struct histogram h = { 0 };

        (void)r;
        for (size_t i = 0; i < ARRAY_LEN(values); i++)
                histogram_record(&h, values[i]);
        exposition_add_histogram(e, NULL, &h);
}

static const struct family table[] = { { .name = "build",
                                         .type = FAMILY_INFO,
                                         .labels = { "version" },
                                         .collect = collect_info,
                                         .help = "Which." },
                                       { .name = "up_seconds",
                                         .unit = "seconds",
                                         .decimals = FAMILY_MILLI,
                                         .offset = offsetof(struct readings, uptime_ms),
                                         .help = "A \"gauge\" \\ of\ntwo lines." },
                                       { .name = "things",
                                         .type = FAMILY_COUNTER,
                                         .labels = { "a", "b" },
                                         .collect = collect_labels,
                                         .help = "Things." },
                                       { .name = "lag_seconds",
                                         .unit = "seconds",
                                         .type = FAMILY_HISTOGRAM,
                                         .first_bits = 8,
                                         .last_bits = 10,
                                         .step_bits = 2,
                                         .collect = collect_histogram,
                                         .help = "Lag." },
                                       { .name = NULL } };

#define HISTOGRAM                                          \
        "vm_agent_lag_seconds_bucket{le=\"0.000256\"} 2\n" \
        "vm_agent_lag_seconds_bucket{le=\"0.001024\"} 4\n" \
        "vm_agent_lag_seconds_bucket{le=\"+Inf\"} 6\n"     \
        "vm_agent_lag_seconds_sum 5.002558\n"              \
        "vm_agent_lag_seconds_count 6\n"
#define THINGS                                          \
        "vm_agent_things_total{a=\"plain\",b=\"\"} 1\n" \
        "vm_agent_things_total{a=\"\\\"q\\\" \\\\ \\n\",b=\"ä\"} 18446744073709551615\n"

static void expect(bool is_openmetrics, uint64_t uptime_ms, const char *wanted)
{
        struct readings r = { .uptime_ms = uptime_ms };
        size_t size = 0;
        char *text = exposition_write(table, is_openmetrics, &r, &size);

        assert_non_null(text);
        assert_string_equal(text, wanted);
        assert_int_equal(strlen(text), size);
        free(text);
}

static void test_text(void **state)
{
        (void)state;
        expect(false, 1250,
               "# HELP vm_agent_build_info Which.\n"
               "# TYPE vm_agent_build_info gauge\n"
               "vm_agent_build_info{version=\"1.2\"} 1\n"
               "# HELP vm_agent_up_seconds A \"gauge\" \\\\ of\\ntwo lines.\n"
               "# TYPE vm_agent_up_seconds gauge\n"
               "vm_agent_up_seconds 1.25\n"
               "# HELP vm_agent_things_total Things.\n"
               "# TYPE vm_agent_things_total counter\n" THINGS "# HELP vm_agent_lag_seconds Lag.\n"
               "# TYPE vm_agent_lag_seconds histogram\n" HISTOGRAM);
}

static void test_openmetrics(void **state)
{
        (void)state;
        expect(true, 7000,
               "# HELP vm_agent_build Which.\n"
               "# TYPE vm_agent_build info\n"
               "vm_agent_build_info{version=\"1.2\"} 1\n"
               "# HELP vm_agent_up_seconds A \\\"gauge\\\" \\\\ of\\ntwo lines.\n"
               "# TYPE vm_agent_up_seconds gauge\n"
               "# UNIT vm_agent_up_seconds seconds\n"
               "vm_agent_up_seconds 7\n"
               "# HELP vm_agent_things Things.\n"
               "# TYPE vm_agent_things counter\n" THINGS "# HELP vm_agent_lag_seconds Lag.\n"
               "# TYPE vm_agent_lag_seconds histogram\n"
               "# UNIT vm_agent_lag_seconds seconds\n" HISTOGRAM "# EOF\n");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_text),
                cmocka_unit_test(test_openmetrics),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
