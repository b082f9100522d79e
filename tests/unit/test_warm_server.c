/* SPDX-License-Identifier: Apache-2.0 */

/* Fork servers that misbehave: whatever they do, executions start. */

#include "tests/lib/warm_fixture.h"

static void test_cannot_work_here(void **state)
{
        struct pools *p = *state;
        struct warm_pool *pool = begin_with(p, "sys.exit(3)\n");
        CLEANUP(strv_free) char **envp = NULL;
        struct wish w;

        WAIT(p, is_given_up, pool);
        assert_int_equal(pool->n_failures, 0);
        assert_int_equal(take_fitting(p, &w, &envp), WARM_E_COLD);
        assert_int_equal(pool->misses[WARM_MISS_DISABLED], 1);
        warm_set_options(p->warm, &p->options);
        assert_false(pool->is_given_up);
        WAIT(p, is_given_up, pool);
}

static void test_given_up_after_some_deaths(void **state)
{
        struct pools *p = *state;
        struct warm_pool *pool = begin_with(p, "ready()\nsys.exit(1)\n");

        WAIT(p, is_given_up, pool);
        assert_int_equal(pool->restarts, 5);
        assert_null(pool->server);
}

static void test_never_ready(void **state)
{
        struct pools *p = *state;
        struct warm_pool *pool;

        p->options.ready_ms = 200;
        pool = begin_with(p, "time.sleep(1000)\n");
        WAIT(p, has_restarted, pool);
}

static void test_never_answers(void **state)
{
        struct pools *p = *state;
        CLEANUP(strv_free) char **envp = NULL;
        struct warm_pool *pool;
        struct wish w;

        p->options.wedged_ms = 1500;
        p->options.wait_ms = 100;
        pool = begin_with(p, "ready()\nforever()\n");
        WAIT(p, has_server, pool);
        assert_int_equal(take_fitting(p, &w, &envp), WARM_E_WAIT);
        WAIT(p, is_answered, &w);
        assert_null(w.child); /* it has waited for long enough */
        assert_int_equal(pool->misses[WARM_MISS_EMPTY], 1);
        WAIT(p, has_restarted, pool);
}

static void expect_failure(struct pools *p, const char *text)
{
        CLEANUP(strv_free) char **envp = NULL;
        struct warm_pool *pool = begin_with(p, text);
        struct wish w;

        WAIT(p, has_begun, pool);
        if (take_fitting(p, &w, &envp) == WARM_E_WAIT) {
                WAIT(p, is_answered, &w);
                assert_null(w.child);
                assert_int_equal(pool->misses[WARM_MISS_FAILED], 1);
        }
        WAIT(p, has_restarted, pool);
}

static void test_nonsense(void **state)
{
        expect_failure(*state, "ready()\nask()\ns.send(b'what')\nforever()\n");
}

static void test_no_number(void **state)
{
        expect_failure(*state, "ready()\nask()\ns.send(b'child\\0x\\0001\\0')\nforever()\n");
}

static void test_half_an_answer(void **state)
{
        expect_failure(*state, "ready()\nask()\ns.send(b'child\\0')\nforever()\n");
}

static void test_more_children_than_asked_for(void **state)
{
        expect_failure(*state, "ready()\n[s.send(b'child\\0001\\0001\\0') for _ in range(100)]\n"
                               "forever()\n");
}

static void test_children_of_others(void **state)
{
        expect_failure(*state, "import os\nready()\nask()\n"
                               "s.send(b'child\\0%d\\0001\\0' % os.getppid())\nforever()\n");
}

static void test_itself_as_a_child(void **state)
{
        expect_failure(*state, "import os\nready()\nask()\n"
                               "s.send(b'child\\0%d\\0001\\0' % os.getpid())\nforever()\n");
}

static void test_cannot_fork(void **state)
{
        struct pools *p = *state;
        CLEANUP(strv_free) char **envp = NULL;
        struct warm_pool *pool = begin_with(
                p, "ready()\nask()\ntime.sleep(0.2)\ns.send(b'failed\\00011\\0')\nforever()\n");
        struct wish w;

        WAIT(p, has_server, pool);
        assert_int_equal(take_fitting(p, &w, &envp), WARM_E_WAIT);
        WAIT(p, is_answered, &w);
        assert_null(w.child);
        assert_int_equal(pool->restarts, 0); /* it may be able to, soon */
        assert_non_null(pool->server);
}

/* Its processes are children of ours, as those of the real one are, and let go of what they were given. */
static void test_children_that_do_not_wait(void **state)
{
        struct pools *p = *state;
        CLEANUP(strv_free) char **envp = NULL;
        struct warm_pool *pool;
        struct wish w;

        p->options.wait_ms = HANG_MS;
        pool = begin_with(p, "import os\n"
                             "def child():\n"
                             "    r, w = os.pipe()\n"
                             "    if os.fork() == 0:\n"
                             "        pid = os.fork()\n"
                             "        if pid == 0:\n"
                             "            time.sleep(1000)\n"
                             "        os.write(w, b'%d' % pid)\n"
                             "        os._exit(0)\n"
                             "    os.wait()\n"
                             "    return os.read(r, 20)\n"
                             "ready()\n"
                             "while ask():\n"
                             "    s.send(b'child\\0' + child() + b'\\0001\\0')\n");
        WAIT(p, has_server, pool);
        WAIT(p, is_ready, pool);
        assert_int_equal(take_fitting(p, &w, &envp), WARM_E_WAIT);
        WAIT(p, is_answered, &w); /* it is told, and they are not asked for on and on */
        assert_null(w.child);
        assert_int_equal(pool->misses[WARM_MISS_FAILED], 1);
        assert_int_equal(pool->restarts, 1);
        assert_in_range(pool->n_births, 1, 8);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                ONCE(test_cannot_work_here),   ONCE(test_given_up_after_some_deaths),
                ONCE(test_never_ready),        ONCE(test_never_answers),
                ONCE(test_nonsense),           ONCE(test_no_number),
                ONCE(test_half_an_answer),     ONCE(test_more_children_than_asked_for),
                ONCE(test_children_of_others), ONCE(test_itself_as_a_child),
                ONCE(test_cannot_fork),        ONCE(test_children_that_do_not_wait),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
