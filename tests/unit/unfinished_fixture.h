/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Agents that note what they make, die, and have successors. */

#include "agent/files/unfinished.h"
#include "tests/unit/files_fixture.h"

#define A_NAME ".vm-agent-tmp-0123456789abcdef01234567"

static inline struct unfinished *journal_begin(struct files *f)
{
        struct unfinished *u = NULL;

        assert_int_equal(unfinished_open(f->base, &u, &f->err), 0);
        temporary_set_journal(u);
        return u;
}

/* The agent dies: nothing is tidied up. */
static inline void journal_end(struct unfinished *u)
{
        temporary_set_journal(NULL);
        unfinished_close(u);
}

/* What the next agent does. */
static inline void journal_expect(struct files *f, unsigned n_removed, unsigned n_left)
{
        struct unfinished *u = journal_begin(f);
        unsigned left;

        assert_int_equal(unfinished_collect(u, f->roots, NULL, &left), n_removed);
        assert_int_equal(left, n_left);
        journal_end(u);
}

static inline const char *journal_path(const struct files *f)
{
        return files_at(f, "unfinished");
}

/* How many slots are in use, by the file. */
static inline unsigned journal_n_noted(const struct files *f)
{
        int fd = open(journal_path(f), O_RDONLY | O_CLOEXEC);
        unsigned n = 0;
        uint32_t magic;

        for (unsigned i = 0; pread(fd, &magic, 4, (off_t)i * UNFINISHED_SLOT_SIZE) == 4; i++)
                n += magic != 0;
        close(fd);
        return n;
}

static inline int journal_open_dir(const struct files *f, const char *name)
{
        int fd = open(files_at(f, name), O_PATH | O_DIRECTORY | O_CLOEXEC);

        assert_true(fd >= 0);
        return fd;
}

enum kind { KIND_FILE, KIND_DIRECTORY, KIND_LINK };

/* Makes a thing as the user, in the directory @name, which is open or not afterwards. */
static inline int journal_make(const struct files *f, const char *name, enum kind kind,
                               char ret[TEMPORARY_NAME_SIZE])
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        int dir = journal_open_dir(f, name);
        int fd;

        assert_int_equal(files_scope_enter(&scope, &f->roots->user), 0);
        if (kind == KIND_FILE)
                fd = temporary_make_file(dir, 0600, ret);
        else if (kind == KIND_DIRECTORY)
                fd = temporary_make_directory(dir, ret);
        else
                fd = temporary_make_link(dir, "../out", ret);
        close(dir);
        return fd;
}

static inline void journal_leave(const struct files *f, const char *name, enum kind kind)
{
        char ret[TEMPORARY_NAME_SIZE];
        int fd = journal_make(f, name, kind, ret);

        assert_true(fd >= 0);
        if (kind != KIND_LINK)
                close(fd);
}
