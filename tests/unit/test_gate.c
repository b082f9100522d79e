/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/loop/gate.h"

enum { EXIT = 1, STDOUT = 2, STDERR = 4 };

struct thing {
        struct gate gate;
        unsigned *n_released;
};

static void on_empty(struct gate *g)
{
        struct thing *t = container_of(g, struct thing, gate);

        (*t->n_released)++;
        mem_free(t);
}

static struct thing *thing_new(unsigned *n_released)
{
        struct thing *t = xnew(struct thing);

        t->n_released = n_released;
        gate_init(&t->gate, on_empty);
        return t;
}

/* Whatever the order, the last one frees, and only that. */
static void test_every_order(void **state)
{
        static const unsigned orders[][3] = {
                { EXIT, STDOUT, STDERR }, { EXIT, STDERR, STDOUT }, { STDOUT, EXIT, STDERR },
                { STDOUT, STDERR, EXIT }, { STDERR, EXIT, STDOUT }, { STDERR, STDOUT, EXIT },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
                unsigned n_released = 0;
                struct thing *t = thing_new(&n_released);

                gate_expect(&t->gate, EXIT);
                gate_expect(&t->gate, STDOUT | STDERR);
                for (size_t k = 0; k < 3; k++) {
                        assert_int_equal(n_released, 0);
                        assert_true(gate_is_pending(&t->gate, orders[i][k]));
                        gate_done(&t->gate, orders[i][k]);
                }
                assert_int_equal(n_released, 1);
        }
}

static void test_expect_again(void **state)
{
        unsigned n_released = 0;
        struct thing *t = thing_new(&n_released);

        (void)state;
        assert_false(gate_is_pending(&t->gate, ~0u));
        gate_expect(&t->gate, EXIT | STDOUT);
        gate_done(&t->gate, EXIT);
        gate_expect(&t->gate, EXIT); /* done, so it may be owed again */
        gate_done(&t->gate, STDOUT);
        assert_int_equal(n_released, 0);
        gate_done(&t->gate, EXIT);
        assert_int_equal(n_released, 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_order),
                cmocka_unit_test(test_expect_again),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
