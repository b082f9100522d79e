/* SPDX-License-Identifier: Apache-2.0 */

/* A piece is read when it was asked for and there is more than what was taken, as the registry or the log itself says.
 *
 * A consumer of text leaves the beginning of a character. Those bytes are read again, but not before there is more, or
 * the job has ended: `held` says how many they are. */

#include "handlers/jobs/follower.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "handlers/jobs/log_reader.h"
#include "proc/jobs.h"

struct channel {
        bool is_wanted;
        bool is_over;    /* nothing more can be read of it */
        bool is_stalled; /* the registry knows of more than the log has: wait for news */
        size_t held;     /* bytes behind its offset that were delivered, but not taken */
        uint64_t until;
        uint64_t seen; /* its total, when the log was looked at last */
        uint64_t lost; /* bytes before its offset that the consumer has not been told of */
};

struct follower {
        struct job *job;
        struct job_watch watch;
        struct log_reader *reader;
        const struct follower_ops *ops;
        void *arg;
        bool is_text;
        struct channel channels[N_CHANNELS];
        uint64_t offsets[N_CHANNELS];
        bool is_asked;
        bool is_reading;
        bool was_final; /* the job, when the read was begun */
        bool has_news;  /* they came since then */
        enum output_channel turn;
        struct follower_piece piece; /* size 0: none that was not taken */
        char *data;
};

static unsigned n_followers;

/* --- what there is --- */

static uint64_t total(const struct follower *f, int c)
{
        return MAX(job_totals(f->job)[c], f->channels[c].seen);
}

static uint64_t known_end(const struct follower *f, int c)
{
        return MIN(total(f, c), f->channels[c].until);
}

static bool has_ended(const struct follower *f)
{
        return job_phase_is_final(job_phase(f->job));
}

/* What was held back is the end of the stream, and nothing will complete it. */
static bool is_owed(const struct follower *f, int c)
{
        const struct channel *ch = &f->channels[c];

        return ch->held > 0 && has_ended(f) && known_end(f, c) == total(f, c);
}

static bool is_readable(const struct follower *f, int c)
{
        const struct channel *ch = &f->channels[c];

        if (!ch->is_wanted || ch->is_over || ch->is_stalled)
                return false;
        return known_end(f, c) > f->offsets[c] + ch->held || is_owed(f, c);
}

static bool is_channel_done(const struct follower *f, int c)
{
        const struct channel *ch = &f->channels[c];

        if (!ch->is_wanted || ch->is_over)
                return true;
        if (is_owed(f, c))
                return false;
        return f->offsets[c] + ch->held >= ch->until ||
               (has_ended(f) && f->offsets[c] >= total(f, c));
}

static bool is_done(const struct follower *f)
{
        if (job_is_gone(f->job) && !has_ended(f))
                return true; /* it was dropped before it began */
        return is_channel_done(f, CHANNEL_STDOUT) && is_channel_done(f, CHANNEL_STDERR);
}

/* --- reading --- */

static void on_read(void *arg, const struct log_read *read);

static void pump(struct follower *f)
{
        if (!f->is_asked || f->is_reading)
                return;
        for (int i = 0; i < N_CHANNELS; i++) {
                enum output_channel c = (enum output_channel)((f->turn + i) % N_CHANNELS);

                if (!is_readable(f, c))
                        continue;
                f->turn = c;
                f->is_reading = true;
                f->was_final = has_ended(f);
                f->has_news = false;
                log_reader_read(f->reader, c, f->offsets[c], FOLLOWER_PIECE, on_read, f);
                return;
        }
}

static void end(struct follower *f, int r)
{
        f->is_asked = false;
        f->ops->on_end(f->arg, r);
}

/* After news, or a read that brought nothing. */
static void go_on(struct follower *f)
{
        if (!f->is_asked || f->is_reading)
                return;
        if (is_done(f))
                end(f, 0);
        else
                pump(f);
}

/* Bytes at the beginning that belong to a character whose first ones are lost. */
static size_t count_orphans(const char *data, size_t size)
{
        size_t n = 0;

        while (n < size && n < 3 && ((unsigned char)data[n] & 0xc0) == 0x80)
                n++;
        return n;
}

static void skip(struct follower *f, enum output_channel c, uint64_t offset)
{
        f->channels[c].lost += offset - f->offsets[c];
        f->channels[c].held = 0;
        f->offsets[c] = offset;
}

/* What is read behind the end that was wanted does not count. */
static size_t wanted_size(const struct follower *f, enum output_channel c,
                          const struct log_read *read)
{
        uint64_t until = f->channels[c].until;

        return until > read->offset ? (size_t)MIN(read->size, until - read->offset) : 0;
}

static void deliver(struct follower *f, enum output_channel c, const char *data, size_t size)
{
        f->piece = (struct follower_piece){
                .channel = c,
                .offset = f->offsets[c],
                .lost = f->channels[c].lost,
                .data = data,
                .size = size,
                .is_last = has_ended(f) && f->offsets[c] + size >= total(f, c),
        };
        f->channels[c].lost = 0;
        f->turn = c == CHANNEL_STDOUT ? CHANNEL_STDERR : CHANNEL_STDOUT;
        f->is_asked = false;
        f->ops->on_piece(f->arg, &f->piece);
}

static void on_read(void *arg, const struct log_read *read)
{
        struct follower *f = arg;
        enum output_channel c = f->turn;
        struct channel *ch = &f->channels[c];
        size_t size = wanted_size(f, c, read), skipped = 0;

        f->is_reading = false;
        f->data = read->data;
        ch->seen = MAX(ch->seen, log_reader_totals(f->reader, c)->total);
        if (read->r < 0) {
                ch->is_over = true;
                end(f, read->r);
                return;
        }
        if (read->offset > f->offsets[c]) {
                if (f->is_text)
                        skipped = count_orphans(read->data, size);
                skip(f, c, read->offset + skipped);
        } else if (size == 0) {
                ch->is_over = f->was_final;
                ch->is_stalled = !f->was_final && !f->has_news; /* they may have been the last */
        }
        if (size > skipped) {
                deliver(f, c, read->data + skipped, size - skipped);
        } else {
                f->data = mem_free(f->data);
                go_on(f);
        }
}

/* --- news --- */

static void on_news(struct job_watch *w, struct job *job)
{
        struct follower *f = container_of(w, struct follower, watch);

        (void)job;
        f->has_news = true;
        for (int i = 0; i < N_CHANNELS; i++)
                f->channels[i].is_stalled = false;
        go_on(f);
}

/* --- for the consumer --- */

/* See the header. */
struct follower *follower_new(const struct follower_options *o, const struct follower_ops *ops,
                              void *arg)
{
        struct follower *f;

        if (n_followers >= LIMIT_JOB_FOLLOWERS)
                return NULL;
        n_followers++;
        f = xnew(struct follower);
        f->job = job_ref(o->job);
        f->reader = o->reader;
        f->ops = ops;
        f->arg = arg;
        f->is_text = o->is_text;
        for (int i = 0; i < N_CHANNELS; i++) {
                f->offsets[i] = o->from[i];
                f->channels[i] = (struct channel){
                        .is_wanted = o->is_wanted[i],
                        .until = o->until[i],
                        .seen = log_reader_totals(o->reader, (enum output_channel)i)->total,
                };
        }
        f->watch.on_change = on_news;
        f->watch.on_grown = on_news;
        job_watch_add(f->job, &f->watch);
        return f;
}

/* See the header. */
struct follower *follower_free(struct follower *f)
{
        if (!f)
                return NULL;
        job_watch_remove(&f->watch);
        (void)job_unref(f->job);
        (void)log_reader_free(f->reader);
        free(f->data);
        free(f);
        n_followers--;
        return NULL;
}

/* See the header. */
bool follower_want(struct follower *f)
{
        assert(f->piece.size == 0 && !f->is_asked);
        f->data = mem_free(f->data);
        if (is_done(f))
                return false;
        f->is_asked = true;
        pump(f);
        return true;
}

/* See the header. */
void follower_take(struct follower *f, size_t size)
{
        size_t rest = f->piece.size - size;

        assert(f->piece.size > 0 && size <= f->piece.size);
        f->offsets[f->piece.channel] += size;
        f->channels[f->piece.channel].held = rest < 4 ? rest : 0;
        f->piece.size = 0;
}

/* See the header. */
const uint64_t *follower_offsets(const struct follower *f)
{
        return f->offsets;
}

/* See the header. */
bool follower_is_complete(const struct follower *f)
{
        if (!has_ended(f))
                return false;
        for (int i = 0; i < N_CHANNELS; i++)
                if (f->channels[i].is_wanted && !f->channels[i].is_over &&
                    f->offsets[i] < total(f, i))
                        return false;
        return true;
}
