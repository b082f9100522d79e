/* SPDX-License-Identifier: Apache-2.0 */

/* Names that others change while they are used: nothing outside is ever read, or changed. */

#include "tests/unit/files_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "agent/files/copy.h"
#include "agent/files/directory.h"
#include "agent/files/list.h"
#include "agent/files/move.h"
#include "agent/files/read.h"
#include "agent/files/remove.h"
#include "agent/files/write.h"

static const struct file_read_options whole = { .max = 1000000 };
static const struct file_write_options plain = { .mode = FILE_MODE_KEEP,
                                                 .overwrite = true,
                                                 .make_parents = true };
static const struct file_remove_options tree = { .is_recursive = true };
static const struct file_copy_options over = { .overwrite = true, .make_parents = true };

static int read_text(struct files *f, const char *path, char dst[64])
{
        struct file_part part;
        int r = file_read(f->roots, path, &whole, &part, &f->err);

        if (r == 0) {
                snprintf(dst, 64, "%s", part.content.size ? part.content.data : "");
                file_part_done(&part);
        }
        return r;
}

static int on_batch(void *data, const struct list_entry *entries, size_t n)
{
        (void)data;
        (void)entries;
        (void)n;
        return 0;
}

struct swap {
        struct files *f;
        char inside[256], outside[256], name[256], other[256];
        atomic_bool stop;
};

/* Makes a name stand for a directory and for a link to the outside in turn. */
static void *swap_directory(void *data)
{
        struct swap *s = data;

        while (!atomic_load(&s->stop)) {
                (void)renameat2(AT_FDCWD, s->name, AT_FDCWD, s->other, RENAME_EXCHANGE);
        }
        return NULL;
}

static void swap_start(struct swap *s, pthread_t *thread)
{
        atomic_init(&s->stop, false);
        assert_int_equal(pthread_create(thread, NULL, swap_directory, s), 0);
}

static void swap_stop(struct swap *s, pthread_t thread)
{
        atomic_store(&s->stop, true);
        pthread_join(thread, NULL);
}

/* Everything at once, while names on the way change. What is outside is never read, and never changes. */
static void test_swapped_directory(void **state)
{
        enum { ROUNDS = 200, MAX_ROUNDS = 100000 };
        struct files *f = *state;
        struct swap s = { .f = f };
        pthread_t thread;
        struct file_copied copied;
        char text[64];
        unsigned n_good = 0, n_bad = 0;

        snprintf(s.name, sizeof(s.name), "%s", files_at(f, "in/turn"));
        snprintf(s.other, sizeof(s.other), "%s", files_at(f, "in/nrut"));
        files_mkdir(f, "in/turn");
        files_put(f, "in/turn/secret", "public");
        files_link(f, "../out", "in/nrut");
        files_put(f, "in/source", "source");
        swap_start(&s, &thread);
        /* Until it was seen in both states: on a busy machine the other thread may rest for long. */
        for (unsigned i = 0; i < ROUNDS || (i < MAX_ROUNDS && (n_good == 0 || n_bad == 0)); i++) {
                int r = read_text(f, "turn/secret", text);

                if (r == 0) {
                        n_good++;
                        assert_string_not_equal(text, "secret");
                } else {
                        n_bad++;
                        assert_int_equal(r, FILES_E_NOT_ALLOWED);
                }
                (void)file_write(f->roots, "turn/secret", "public", 6, &plain, NULL, &f->err);
                (void)file_write(f->roots, "turn/new/deep", "x", 1, &plain, NULL, &f->err);
                (void)files_chmod(f, "turn/secret", 0600);
                (void)directory_make(f->roots, "turn/made", 0700, true, NULL, &f->err);
                (void)file_copy(f->roots, "source", "turn/copy", &over, &copied, &f->err);
                (void)file_move(f->roots, "turn/copy", "turn/moved", &over, &copied, &f->err);
                (void)file_remove(f->roots, "turn/new", &tree, NULL, &f->err);
                if (i % 50 == 49) {
                        files_check(f, "out/secret", "secret");
                        assert_int_equal(files_count(f, "out"), 1);
                        assert_int_equal(files_mode(f, "out/secret"), 0644);
                }
        }
        swap_stop(&s, thread);
        print_message("# inside %u, refused %u\n", n_good, n_bad);
        assert_true(n_good > 0 && n_bad > 0);
        files_check(f, "out/secret", "secret");
        assert_int_equal(files_count(f, "out"), 1);
}

/* The last name is a file and a link to the outside in turn. */
static void test_swapped_file(void **state)
{
        enum { ROUNDS = 200, MAX_ROUNDS = 100000 };
        struct files *f = *state;
        struct swap s = { .f = f };
        pthread_t thread;
        char text[64];
        unsigned n_written = 0, n_refused = 0;

        snprintf(s.name, sizeof(s.name), "%s", files_at(f, "in/turn"));
        snprintf(s.other, sizeof(s.other), "%s", files_at(f, "in/nrut"));
        files_put(f, "in/turn", "public");
        files_link(f, "../out/secret", "in/nrut");
        swap_start(&s, &thread);
        /* Until it was seen in both states, as above. */
        for (unsigned i = 0; i < ROUNDS || (i < MAX_ROUNDS && (n_written == 0 || n_refused == 0));
             i++) {
                const struct file_write_options append = { .append = true };
                int r = read_text(f, "turn", text);

                if (r == 0)
                        assert_string_not_equal(text, "secret");
                r = file_write(f->roots, "turn", "public", 6, i % 2 ? &plain : &append, NULL,
                               &f->err);
                n_written += r == 0;
                n_refused += r == FILES_E_NOT_ALLOWED;
                (void)files_chmod(f, "turn", 0600);
                if (i % 50 == 49) {
                        /* Both may have become files, or links. */
                        files_put(f, "in/again", "public");
                        assert_int_equal(rename(files_at(f, "in/again"), s.name), 0);
                        files_link(f, "../out/secret", "in/again");
                        assert_int_equal(rename(files_at(f, "in/again"), s.other), 0);
                        files_check(f, "out/secret", "secret");
                        assert_int_equal(files_mode(f, "out/secret"), 0644);
                }
        }
        swap_stop(&s, thread);
        print_message("# written %u, refused %u\n", n_written, n_refused);
        assert_true(n_written > 0 && n_refused > 0);
        files_check(f, "out/secret", "secret");
        assert_int_equal(files_count(f, "out"), 1);
}

/* A tree is removed and listed and copied while its directories turn into links. */
static void test_swapped_tree(void **state)
{
        enum { ROUNDS = 50 };
        struct files *f = *state;
        struct swap s = { .f = f };
        pthread_t thread;
        struct file_copied copied;
        struct list_options o = { .is_recursive = true, .on_batch = on_batch };
        struct list_result result;
        struct stat st;

        snprintf(s.name, sizeof(s.name), "%s", files_at(f, "in/tree/turn"));
        snprintf(s.other, sizeof(s.other), "%s", files_at(f, "in/nrut"));
        files_link(f, "../../out", "in/nrut");
        swap_start(&s, &thread);
        for (unsigned i = 0; i < ROUNDS; i++) {
                (void)file_write(f->roots, "tree/turn/deep/file", "x", 1, &plain, NULL, &f->err);
                (void)directory_list(f->roots, "tree", &o, &result, &f->err);
                (void)file_copy(f->roots, "tree", "copy", &over, &copied, &f->err);
                /* A link is copied as a link. */
                assert_false(lstat(files_at(f, "in/copy/turn"), &st) == 0 && S_ISDIR(st.st_mode) &&
                             files_is_there(f, "in/copy/turn/secret"));
                (void)file_remove(f->roots, "tree", &tree, NULL, &f->err);
                (void)file_remove(f->roots, "copy", &tree, NULL, &f->err);
                if (i % 25 == 24) {
                        files_check(f, "out/secret", "secret");
                        assert_int_equal(files_count(f, "out"), 1);
                }
        }
        swap_stop(&s, thread);
        files_check(f, "out/secret", "secret");
        assert_int_equal(files_count(f, "out"), 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILES_TEST(test_swapped_directory),
                FILES_TEST(test_swapped_file),
                FILES_TEST(test_swapped_tree),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
