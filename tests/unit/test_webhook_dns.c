/* SPDX-License-Identifier: Apache-2.0 */

/* Names that resolve to what they should not, or not at all. The resolver of this program is its own: libcurl finds
 * the getaddrinfo below before the C library's. */

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>

#include "agent/base/clock.h"
#include "tests/lib/webhook_fixture.h"

/* --- the resolver --- */

static struct {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        bool is_released; /* look-ups of slow.test may end */
        unsigned n_slow;  /* that wait */
        unsigned n_flips; /* look-ups of flip.test */
        unsigned n_lookups;
} resolver = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };

static const struct {
        const char *name;
        const char *addresses[3];
} zone[] = {
        { "local.test", { "127.0.0.1" } },
        { "metadata.test", { "169.254.169.254" } },
        { "mapped.test", { "::ffff:169.254.169.254" } },
        { "linklocal.test", { "fe80::1" } },
        { "all-bad.test", { "169.254.169.254", "::ffff:a9fe:a9fe", "fe80::2" } },
        { "mixed.test", { "169.254.169.254", "127.0.0.1" } },
        { "any.test", { "0.0.0.0" } },
        { "slow.test", { "127.0.0.1" } },
};

/* flip.test is harmless the first time. */
static const char *address_of(const char *name, unsigned i)
{
        if (str_equal(name, "flip.test"))
                return i > 0 ? NULL : resolver.n_flips++ == 0 ? "127.0.0.1" : "169.254.169.254";
        for (size_t z = 0; z < ARRAY_LEN(zone); z++)
                if (str_equal(zone[z].name, name))
                        return i < 3 ? zone[z].addresses[i] : NULL;
        return NULL;
}

static void wait_for_release(void)
{
        resolver.n_slow++;
        pthread_cond_broadcast(&resolver.changed);
        while (!resolver.is_released)
                pthread_cond_wait(&resolver.changed, &resolver.mutex);
        resolver.n_slow--;
        pthread_cond_broadcast(&resolver.changed);
}

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

__attribute__((visibility("default"))) int getaddrinfo(const char *restrict name,
                                                       const char *restrict service,
                                                       const struct addrinfo *restrict hints,
                                                       struct addrinfo **restrict ret)
{
        getaddrinfo_fn *real = (getaddrinfo_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
        struct addrinfo numeric = *hints;
        struct addrinfo *all = NULL;
        struct addrinfo **end = &all;
        const char *address;

        if (!strstr(name, ".test"))
                return real(name, service, hints, ret);

        numeric.ai_flags = AI_NUMERICHOST;
        numeric.ai_family = AF_UNSPEC;
        pthread_mutex_lock(&resolver.mutex);
        resolver.n_lookups++;
        if (str_equal(name, "slow.test"))
                wait_for_release();
        for (unsigned i = 0; (address = address_of(name, i)); i++) {
                if (real(address, service, &numeric, end) != 0)
                        abort();
                while (*end)
                        end = &(*end)->ai_next;
        }
        pthread_mutex_unlock(&resolver.mutex);
        *ret = all;
        return all ? 0 : EAI_NONAME;
}

static void release_slow(void)
{
        pthread_mutex_lock(&resolver.mutex);
        resolver.is_released = true;
        pthread_cond_broadcast(&resolver.changed);
        while (resolver.n_slow > 0)
                pthread_cond_wait(&resolver.changed, &resolver.mutex);
        resolver.is_released = false;
        pthread_mutex_unlock(&resolver.mutex);
}

static int has_slow(void *arg)
{
        unsigned n;

        (void)arg;
        pthread_mutex_lock(&resolver.mutex);
        n = resolver.n_slow;
        pthread_mutex_unlock(&resolver.mutex);
        return n > 0;
}

static struct hook *post(struct hooks *h, const char *id, const char *host, const char *path)
{
        char url[128];

        snprintf(url, sizeof(url), "http://%s:%d%s", host, receiver.port, path);
        return hooks_queue(h, id, url, NULL, NULL, "{}");
}

/* --- tests --- */

/* Otherwise none of the tests below would test anything. */
static void test_resolver_is_used(void **state)
{
        struct hooks *h = *state;
        unsigned before = resolver.n_lookups;
        struct hook *hook = post(h, "local", "local.test", "/ok");

        hooks_run(h);
        expect_hook(hook, WEBHOOK_DELIVERED, 1, 200, "");
        assert_int_equal(resolver.n_lookups, before + 1);
}

static void test_denied_after_resolution(void **state)
{
        static const char *const names[] = { "metadata.test", "mapped.test", "linklocal.test",
                                             "all-bad.test" };
        struct hooks *h = *state;

        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                CLEANUP(mem_free) char *id = xstrndup(names[i], strcspn(names[i], "."));

                post(h, id, names[i], "/ok");
        }
        hooks_run(h);
        for (unsigned i = 0; i < h->n_hooks; i++)
                expect_hook(&h->hooks[i], WEBHOOK_REFUSED, 1, 0, "is not allowed");
        assert_int_equal(h->n_hooks, ARRAY_LEN(names));
}

static void test_deny_list_after_resolution(void **state)
{
        static char *const loopback[] = { (char *)"127.0.0.0/8", (char *)"::1", NULL };
        struct hooks *h = *state;
        struct hook *local, *any, *localhost;

        h->options.deny = loopback;
        hooks_reconfigure(h);
        local = post(h, "denied-local", "local.test", "/ok");
        any = post(h, "denied-any", "any.test", "/ok");
        localhost = post(h, "denied-localhost", "localhost", "/ok");
        hooks_run(h);
        expect_hook(local, WEBHOOK_REFUSED, 1, 0, "local.test is not allowed");
        expect_hook(any, WEBHOOK_REFUSED, 1, 0, "any.test is not allowed");
        expect_hook(localhost, WEBHOOK_REFUSED, 1, 0, "localhost is not allowed");
        assert_int_equal(receiver_count("denied-local", NULL), 0);
        assert_int_equal(receiver_count("denied-any", NULL), 0);
        assert_int_equal(receiver_count("denied-localhost", NULL), 0);
}

/* Only the addresses that may be used are. */
static void test_mixed(void **state)
{
        struct hooks *h = *state;
        struct hook *hook = post(h, "mixed", "mixed.test", "/ok");

        hooks_run(h);
        expect_hook(hook, WEBHOOK_DELIVERED, 1, 200, "");
}

/* A name that is harmless when it is looked at first. */
static void test_rebinding(void **state)
{
        struct hooks *h = *state;
        struct hook *hook = post(h, "flip", "flip.test", "/status/500");

        hooks_run(h);
        expect_hook(hook, WEBHOOK_REFUSED, 2, 0, "flip.test is not allowed");
        assert_int_equal(receiver_count("flip", NULL), 1);
}

static void test_unknown_name(void **state)
{
        struct hooks *h = *state;
        struct hook *hook = post(h, "unknown", "unknown.test", "/ok");

        hooks_run(h);
        expect_hook(hook, WEBHOOK_FAILED, 3, 0, "Could not resolve host");
}

/* A name server that does not answer holds up neither the loop nor the other deliveries, nor the end. */
static void test_slow_resolver(void **state)
{
        struct hooks *h = *state;
        struct hook *slow, *other;
        uint64_t started;

        h->options.connect_timeout_ms = 200;
        h->options.max_tries = 1;
        hooks_reconfigure(h);
        slow = post(h, "slow", "slow.test", "/ok");
        assert_true(loop_run_until(h->loop, has_slow, NULL, HOOK_DEADLINE_MS));
        other = hooks_post(h, "beside-slow", "/ok");
        hooks_run(h);
        expect_hook(slow, WEBHOOK_FAILED, 1, 0, "timed out");
        expect_hook(other, WEBHOOK_DELIVERED, 1, 200, "");
        assert_true(has_slow(NULL)); /* still: nobody waited for it */

        h->options.connect_timeout_ms = 20000;
        hooks_reconfigure(h);
        release_slow();
        post(h, "slow-2", "slow.test", "/ok");
        assert_true(loop_run_until(h->loop, has_slow, NULL, HOOK_DEADLINE_MS));
        started = clock_now_ms();
        hooks_close(h);
        assert_true(clock_now_ms() - started < 5000);
        release_slow();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                HOOK_TEST(test_resolver_is_used),
                HOOK_TEST(test_denied_after_resolution),
                HOOK_TEST(test_deny_list_after_resolution),
                HOOK_TEST(test_mixed),
                HOOK_TEST(test_rebinding),
                HOOK_TEST(test_unknown_name),
                HOOK_TEST(test_slow_resolver),
        };

        return cmocka_run_group_tests(tests, receiver_start, receiver_stop);
}
