/* SPDX-License-Identifier: Apache-2.0 */

/* One file is simply written. The files of a form are staged: the last one stays unpublished until the next begins or
 * the form has come to its end, because fields that are about it may follow, and a form that is cut off is none. As
 * long as no path has come all of them wait.
 *
 * An archive is unpacked as it comes (unpack_steps.h), and what it unpacks to is moved to its place at the end. What of
 * it is in one piece of the form is collected first, as the form's parser cannot be interrupted. */

#include "handlers/files/upload_sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/files/outcome.h"
#include "agent/files/write.h"
#include "agent/http/multipart.h"
#include "handlers/files/common.h"
#include "handlers/files/unpack_steps.h"
#include "handlers/files/upload_target.h"

struct part {
        char *filename; /* as the client said it */
        struct upload_stage *stage;
};

struct upload_sink {
        const struct roots *roots;
        const atomic_bool *cancel;
        char *path; /* may be NULL */
        int mode;
        bool overwrite;
        bool extract;
        uint64_t max_extract;
        struct unpack_steps *steps; /* of the archive */
        struct buf archive;         /* what they have not taken of it */
        char *archive_name;
        bool is_finishing;
        struct unpack_result unpacked;
        struct file_writer *file;    /* without a form */
        struct multipart *multipart; /* NULL: no form */
        struct part parts[LIMIT_UPLOAD_WAITING];
        size_t n_parts; /* that wait; the last may still grow */
        unsigned n_files;
        int r;      /* of a callback of the form */
        char *at;   /* the file that is being worked on */
        char *last; /* the last one that was published */
        uint64_t size;
        json_t *files;
};

/* --- life --- */

static struct upload_sink *sink_new(const struct roots *roots, const struct upload_options *o)
{
        struct upload_sink *s = xnew(struct upload_sink);

        s->roots = roots;
        s->cancel = o->cancel;
        s->path = o->path ? xstrdup(o->path) : NULL;
        s->mode = o->mode;
        s->overwrite = o->overwrite;
        s->extract = o->extract;
        s->max_extract = o->max_extract;
        s->files = json_array();
        return s;
}

/* See the header. */
struct upload_sink *upload_sink_new_file(const struct roots *roots, const struct upload_options *o)
{
        return sink_new(roots, o);
}

static void part_done(struct part *p)
{
        p->stage = upload_stage_free(p->stage);
        p->filename = mem_free(p->filename);
}

/* See the header. */
void upload_sink_abort(struct upload_sink *s)
{
        s->steps = unpack_steps_free(s->steps);
        s->file = file_writer_abort(s->file);
        while (s->n_parts > 0)
                part_done(&s->parts[--s->n_parts]);
}

/* See the header. */
struct upload_sink *upload_sink_free(struct upload_sink *s)
{
        if (!s)
                return NULL;
        multipart_free(s->multipart);
        buf_done(&s->archive);
        json_decref(s->files);
        free(s->archive_name);
        free(s->path);
        free(s->at);
        free(s->last);
        free(s);
        return NULL;
}

static void set_at(struct upload_sink *s, char *path)
{
        free(s->at);
        s->at = path;
}

static int published(struct upload_sink *s, const char *path, uint64_t size, bool is_created,
                     struct error *err)
{
        json_t *row = json_pack(
                "{s:o, s:o, s:I, s:b}", "name", files_json_string(files_base_name(path)), "path",
                files_json_string(path), "size", (json_int_t)size, "created", is_created);

        if (json_array_append_new(s->files, row) < 0)
                return error_set(err, -ENOMEM, "the answer");
        free(s->last);
        s->last = xstrdup(path);
        s->size += size;
        return 0;
}

/* --- an archive --- */

static const char *archive_target(const struct upload_sink *s)
{
        return s->path ? s->path : s->roots->workspace;
}

static int begin_archive(struct upload_sink *s, const char *filename, struct error *err)
{
        const struct unpack_steps_options o = {
                .roots = s->roots, .path = s->path, .max_size = s->max_extract, .cancel = s->cancel
        };

        if (s->n_files > 1)
                return error_set_field(err, -EINVAL, "/file",
                                       "file: one archive can be unpacked at a time");
        set_at(s, xstrdup(archive_target(s)));
        s->archive_name = xstrdup(files_base_name(filename));
        return unpack_steps_new(&o, &s->steps, err);
}

/* @r is what became of the archive's bytes. */
static int fed_archive(struct upload_sink *s, int r)
{
        if (r != -EAGAIN)
                s->archive.size = 0;
        return r;
}

static int feed_archive(struct upload_sink *s, struct error *err)
{
        if (!s->steps || s->archive.size == 0)
                return 0;
        return fed_archive(s, unpack_steps_feed(s->steps, s->archive.data, s->archive.size, err));
}

static int finished_archive(struct upload_sink *s, int r, struct error *err)
{
        json_t *row;

        if (r != 0)
                return r;
        s->unpacked = unpack_steps_result(s->steps);
        s->steps = unpack_steps_free(s->steps);
        s->size = s->unpacked.size;
        s->last = xstrdup(s->at);
        row = json_pack("{s:o, s:o, s:I, s:b}", "name", files_json_string(s->archive_name), "path",
                        files_json_string(s->at), "size", (json_int_t)s->size, "created",
                        s->unpacked.is_created);
        if (json_array_append_new(s->files, row) < 0)
                return error_set(err, -ENOMEM, "the answer");
        return 0;
}

static int finish_archive(struct upload_sink *s, struct error *err)
{
        if (s->mode != FILE_MODE_KEEP)
                return error_set_field(err, -EINVAL, "/mode",
                                       "mode: the entries of an archive have their own");
        set_at(s, xstrdup(archive_target(s)));
        s->is_finishing = true;
        return finished_archive(s, unpack_steps_finish(s->steps, s->at, s->overwrite, err), err);
}

/* --- files of a form --- */

static int find_target(struct upload_sink *s, const struct part *p, struct error *err)
{
        bool is_inside;
        char *path;
        int r = upload_target_name(s->roots, s->path, p->filename, &path, &is_inside, err);

        if (r != 0)
                return r;
        set_at(s, path);
        if (s->n_files > 1 && !is_inside)
                return error_set_field(
                        err, -EINVAL, "/path",
                        "path: must be a directory, or end with a slash, for several files");
        return 0;
}

static int publish(struct upload_sink *s, struct part *p, struct error *err)
{
        bool is_created = false;
        int r = find_target(s, p, err);

        if (r == 0)
                r = upload_stage_publish(p->stage, s->at, s->mode, s->overwrite, s->cancel,
                                         &is_created, err);
        return r == 0 ? published(s, s->at, upload_stage_size(p->stage), is_created, err) : r;
}

static int publish_all(struct upload_sink *s, struct error *err)
{
        size_t n = s->n_parts;
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++)
                r = publish(s, &s->parts[i], err);
        for (size_t i = 0; i < n; i++)
                part_done(&s->parts[i]);
        s->n_parts = 0;
        return r;
}

static int begin_file(struct upload_sink *s, const char *filename, struct error *err)
{
        struct part *p;
        int r = 0;

        s->n_files++;
        if (s->extract)
                return begin_archive(s, filename, err);
        if (s->path)
                r = publish_all(s, err);
        if (r != 0)
                return r;
        if (s->n_parts == LIMIT_UPLOAD_WAITING)
                return error_set_field(
                        err, -EINVAL, "/path",
                        "path: has to come before the files when they are more than %d",
                        LIMIT_UPLOAD_WAITING);
        p = &s->parts[s->n_parts++];
        p->filename = xstrdup(filename);
        if (s->path)
                r = find_target(s, p, err);
        else
                set_at(s, xstrdup(filename));
        if (r != 0)
                return r;
        return upload_stage_new(s->roots, s->path ? s->at : NULL, s->overwrite, &p->stage, err);
}

static int write_file(struct upload_sink *s, const char *data, size_t size, struct error *err)
{
        if (s->steps)
                return buf_append(&s->archive, data, size);
        return upload_stage_write(s->parts[s->n_parts - 1].stage, data, size, s->at, err);
}

/* --- fields --- */

static int set_path(struct upload_sink *s, const char *value, struct error *err)
{
        if (!value[0]) /* an empty input of a page */
                return 0;
        if (s->path && strcmp(s->path, value) != 0)
                return error_set_field(err, -EINVAL, "/path", "path: there are two different ones");
        free(s->path);
        s->path = xstrdup(value);
        return 0;
}

static int set_mode(struct upload_sink *s, const char *value, struct error *err)
{
        if (value[0] && files_parse_mode(value, &s->mode) < 0)
                return error_set_field(err, -EINVAL, "/mode",
                                       "mode: expected octal digits such as 0644");
        return 0;
}

static int take_bool(const char *name, const char *value, bool *ret, struct error *err)
{
        char field[32] = "/";

        if (str_parse_bool(value, ret) == 0)
                return 0;
        return error_set_field(err, -EINVAL, strncat(field, name, sizeof(field) - 2),
                               "%s: expected true or false", name);
}

static int set_extract(struct upload_sink *s, const char *value, struct error *err)
{
        bool extract = s->extract;
        int r = take_bool("extract", value, &extract, err);

        if (r == 0 && extract != s->extract && s->n_files > 0)
                return error_set_field(err, -EINVAL, "/extract",
                                       "extract: has to come before the file, or in the query");
        s->extract = extract;
        return r;
}

static int take_field(struct upload_sink *s, const char *name, const char *value, size_t size,
                      struct error *err)
{
        if (strcmp(name, "path") == 0 && strlen(value) != size)
                return error_set_field(err, -EINVAL, "/path", "path: contains a NUL byte");
        if (strcmp(name, "path") == 0)
                return set_path(s, value, err);
        if (strcmp(name, "mode") == 0)
                return set_mode(s, value, err);
        if (strcmp(name, "overwrite") == 0)
                return take_bool(name, value, &s->overwrite, err);
        if (strcmp(name, "file") == 0)
                return error_set_field(err, -EINVAL, "/file",
                                       "file: is a field without a filename");
        if (strcmp(name, "extract") == 0)
                return set_extract(s, value, err);
        return 0; /* others are ignored */
}

/* --- the form's events --- */

static int stop(struct upload_sink *s, int r)
{
        s->r = r;
        return r == 0 ? 0 : -ECANCELED;
}

static int on_field(void *arg, const char *name, const char *value, size_t size, struct error *err)
{
        return stop(arg, take_field(arg, name, value, size, err));
}

static int on_file(void *arg, const struct multipart_file *file, struct error *err)
{
        return stop(arg, begin_file(arg, file->filename, err));
}

static int on_data(void *arg, const char *data, size_t size, struct error *err)
{
        return stop(arg, write_file(arg, data, size, err));
}

static int on_file_end(void *arg, struct error *err)
{
        (void)arg;
        (void)err;
        return 0; /* fields about it may follow */
}

static const struct multipart_ops form_ops = { on_field, on_file, on_data, on_file_end };

/* See the header. */
int upload_sink_new_form(const struct roots *roots, const struct upload_options *o,
                         const char *content_type, struct upload_sink **ret, struct error *err)
{
        struct upload_sink *s = sink_new(roots, o);
        int r = multipart_new(content_type, &form_ops, s, &s->multipart, err);

        if (r < 0) {
                upload_sink_free(s);
                return r;
        }
        *ret = s;
        return 0;
}

/* --- steps --- */

/* See the header. What a known path forbids is said before the body is asked for. */
int upload_sink_begin(struct upload_sink *s, struct error *err)
{
        const struct file_write_options options = { .mode = s->mode,
                                                    .overwrite = s->overwrite,
                                                    .make_parents = true };
        size_t size = s->path ? strlen(s->path) : 0;

        if (s->extract && s->mode != FILE_MODE_KEEP)
                return error_set_field(err, -EINVAL, "/mode",
                                       "mode: the entries of an archive have their own");
        if (s->multipart)
                return 0;
        if (s->extract)
                return begin_archive(s, s->path ? s->path : "", err);
        set_at(s, xstrdup(s->path));
        if (s->path[size - 1] == '/')
                return files_fail(err, FILES_E_IS_DIRECTORY, s->path);
        return file_writer_open(s->roots, s->path, &options, &s->file, err);
}

/* See the header. */
int upload_sink_feed(struct upload_sink *s, const char *data, size_t size, struct error *err)
{
        int r;

        if (!s->multipart && !s->extract)
                return file_writer_write(s->file, data, size, err);
        if (!s->multipart) {
                r = buf_append(&s->archive, data, size);
        } else {
                r = multipart_feed(s->multipart, data, size, err);
                r = s->r != 0 ? s->r : r;
        }
        return r == 0 ? feed_archive(s, err) : r;
}

static int finish_form(struct upload_sink *s, struct error *err)
{
        int r = multipart_end(s->multipart, err);

        if (r < 0)
                return r;
        if (s->n_files == 0)
                return error_set_field(err, -ENOKEY, "/file", "file: is missing");
        return s->extract ? finish_archive(s, err) : publish_all(s, err);
}

/* See the header. */
int upload_sink_finish(struct upload_sink *s, struct error *err)
{
        struct file_written written;
        int r;

        if (s->multipart)
                return finish_form(s, err);
        if (s->extract)
                return finish_archive(s, err);
        r = file_writer_commit(STEAL(s->file), &written, err);
        return r == 0 ? published(s, s->path, written.size, written.is_created, err) : r;
}

/* See the header. */
int upload_sink_resume(struct upload_sink *s, struct error *err)
{
        int r = unpack_steps_resume(s->steps, err);

        return s->is_finishing ? finished_archive(s, r, err) : fed_archive(s, r);
}

/* See the header. */
struct upload_result upload_sink_result(const struct upload_sink *s)
{
        const char *directory = s->path ? s->path : s->roots->workspace;

        return (struct upload_result){ .path = s->n_files > 1 ? directory : s->last,
                                       .size = s->size,
                                       .files = s->files,
                                       .is_extracted = s->is_finishing,
                                       .n_files = s->unpacked.n_files,
                                       .n_directories = s->unpacked.n_directories,
                                       .n_links = s->unpacked.n_links };
}

/* See the header. */
const char *upload_sink_path(const struct upload_sink *s)
{
        return s->at ? s->at : s->path;
}
