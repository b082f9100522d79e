/* SPDX-License-Identifier: Apache-2.0 */

/* Turns: order, room, failures that hold up everybody, and the close. */

#include <errno.h>

#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/macros.h"
#include "tests/lib/webhook_fixture.h"

struct waiter {
        struct webhook_turn turn;
        struct loop *loop;
        unsigned n_turns;
        unsigned order; /* of its last turn */
        bool is_closed;
};

static unsigned n_given;

static void on_turn(struct webhook_turn *t)
{
        struct waiter *waiter = container_of(t, struct waiter, turn);

        waiter->n_turns++;
        waiter->order = ++n_given;
        uv_stop(&waiter->loop->uv); /* it would wait for something more to happen */
}

static void on_closed(struct webhook_turn *t)
{
        struct waiter *waiter = container_of(t, struct waiter, turn);

        assert_false(waiter->is_closed);
        waiter->is_closed = true;
}

static void wait_turn(struct hooks *h, struct waiter *waiter)
{
        *waiter = (struct waiter){
                .turn = { .on_turn = on_turn, .on_closed = on_closed },
                .loop = h->loop,
        };
        assert_int_equal(webhook_turn_wait(h->w, &waiter->turn), 0);
        assert_int_equal(waiter->n_turns, 0); /* not from inside */
}

static int has_turn(void *arg)
{
        return ((const struct waiter *)arg)->n_turns > 0;
}

static int has_second_turn(void *arg)
{
        return ((const struct waiter *)arg)->n_turns > 1;
}

static int never(void *arg)
{
        (void)arg;
        return 0;
}

/* Nothing should happen in this time, nor in any other. */
static void expect_nothing(struct hooks *h)
{
        unsigned before = n_given;

        (void)loop_run_until(h->loop, never, NULL, 30);
        assert_int_equal(n_given, before);
}

static void expect_turn(struct hooks *h, struct waiter *waiter)
{
        assert_true(loop_run_until(h->loop, has_turn, waiter, HOOK_DEADLINE_MS));
}

static void test_in_order(void **state)
{
        struct hooks *h = *state;
        struct waiter waiters[10];

        n_given = 0;
        for (unsigned i = 0; i < ARRAY_LEN(waiters); i++)
                wait_turn(h, &waiters[i]);
        expect_turn(h, &waiters[1]);
        expect_nothing(h); /* a few at once */
        for (unsigned i = 0; i < ARRAY_LEN(waiters); i++) {
                expect_turn(h, &waiters[i]);
                assert_int_equal(waiters[i].order, i + 1);
                webhook_turn_done(h->w);
                assert_true(n_given <= i + 2);
        }
        assert_int_equal(n_given, ARRAY_LEN(waiters));
}

/* One that is queued inside its turn, as most are. */
static void test_no_turn_without_room(void **state)
{
        struct hooks *h = *state;
        struct waiter a, b;

        h->options.max_queued = 1;
        hooks_reconfigure(h);
        wait_turn(h, &a);
        wait_turn(h, &b);
        expect_turn(h, &a);
        hooks_post(h, "first", "/hang");
        webhook_turn_done(h->w);
        expect_nothing(h);
        h->options.max_queued = 2;
        hooks_reconfigure(h);
        expect_turn(h, &b);
        webhook_turn_done(h->w);
}

static void test_room_comes_with_the_end_of_a_delivery(void **state)
{
        struct hooks *h = *state;
        struct waiter waiter;

        h->options.max_queued = 1;
        hooks_reconfigure(h);
        hooks_post(h, "leaves", "/then-ok/500/1");
        wait_turn(h, &waiter);
        expect_turn(h, &waiter);
        assert_false(webhook_is_queued(h->w, "leaves"));
        webhook_turn_done(h->w);
}

static void test_failure_holds_all(void **state)
{
        struct hooks *h = *state;
        struct waiter a, b, c;
        uint64_t started;

        n_given = 0;
        wait_turn(h, &a);
        wait_turn(h, &b);
        wait_turn(h, &c);
        expect_turn(h, &b);
        started = clock_now_ms();
        webhook_turn_again(h->w, &a.turn);
        webhook_turn_again(h->w, &b.turn); /* says nothing new */
        expect_nothing(h);
        expect_turn(h, &c);
        assert_true(clock_now_ms() - started >= 500);
        assert_true(loop_run_until(h->loop, has_second_turn, &a, HOOK_DEADLINE_MS));
        assert_int_equal(c.order, 3);
        assert_int_equal(a.order, 4);

        started = clock_now_ms();
        webhook_turn_again(h->w, &c.turn);
        assert_true(loop_run_until(h->loop, has_second_turn, &b, HOOK_DEADLINE_MS));
        assert_true(clock_now_ms() - started >= 1000); /* longer than the first time */

        /* Success ends that at once. */
        started = clock_now_ms();
        webhook_turn_done(h->w);
        assert_true(loop_run_until(h->loop, has_second_turn, &c, HOOK_DEADLINE_MS));
        assert_true(clock_now_ms() - started < 500);
        webhook_turn_done(h->w);
        webhook_turn_done(h->w);
}

static void test_is_queued(void **state)
{
        struct hooks *h = *state;

        assert_false(webhook_is_queued(h->w, "this"));
        hooks_post(h, "this", "/hang");
        assert_true(webhook_is_queued(h->w, "this"));
        hooks_close(h);
        hooks_open(h);
        assert_true(webhook_is_queued(h->w, "this"));
        assert_false(webhook_is_queued(h->w, "that"));
}

static void test_close(void **state)
{
        struct hooks *h = *state;
        struct waiter waiters[4], late = { .turn = { .on_turn = on_turn } };

        for (unsigned i = 0; i < ARRAY_LEN(waiters); i++)
                wait_turn(h, &waiters[i]);
        expect_turn(h, &waiters[1]);
        webhooks_close(h->w, hooks_on_closed, h);
        for (unsigned i = 0; i < ARRAY_LEN(waiters); i++)
                assert_int_equal(waiters[i].is_closed, i >= 2);
        assert_int_equal(webhook_turn_wait(h->w, &late.turn), -ESHUTDOWN);
        expect_nothing(h);
        assert_false(h->is_closed); /* it waits for those who have their turn */
        webhook_turn_again(h->w, &waiters[0].turn);
        assert_true(waiters[0].is_closed);
        expect_nothing(h);
        assert_false(h->is_closed);
        webhook_turn_done(h->w);
        assert_false(waiters[1].is_closed);
        assert_true(loop_run_until(h->loop, hooks_is_closed, h, HOOK_DEADLINE_MS));
        h->w = webhooks_free(h->w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                HOOK_TEST(test_in_order),
                HOOK_TEST(test_no_turn_without_room),
                HOOK_TEST(test_room_comes_with_the_end_of_a_delivery),
                HOOK_TEST(test_failure_holds_all),
                HOOK_TEST(test_is_queued),
                HOOK_TEST(test_close),
        };

        return cmocka_run_group_tests(tests, receiver_start, receiver_stop);
}
