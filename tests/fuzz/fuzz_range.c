/* SPDX-License-Identifier: Apache-2.0 */

/* Conditional headers, dates and parameters from any text: decisions stay inside the file, and what is printed is
 * understood.
 *
 * Input: lines; the first byte of each says which header the rest of it is. */

#include <string.h>

#include "agent/http/header_value.h"
#include "agent/http/multipart_header.h"
#include "agent/http/range.h"
#include "tests/fuzz/fuzz.h"

static void check_decision(const struct range_conditions *c, uint64_t size)
{
        struct range_file f = {
                .etag = "\"abc\"", .modified = 784111777, .size = size, .now = 784112000
        };
        struct range_decision d;
        char buf[RANGE_CONTENT_SIZE];

        range_decide(c, &f, &d);
        switch (d.status) {
        case 200:
                MUST(d.offset == 0 && d.size == size);
                break;
        case 206:
                MUST(c->is_get && c->range);
                MUST(d.size > 0 && d.offset < size && d.size <= size - d.offset);
                break;
        case 304:
                MUST(c->if_none_match || c->if_modified_since);
                break;
        case 412:
                MUST(c->if_match || c->if_unmodified_since);
                break;
        default:
                MUST(d.status == 416 && c->range);
        }
        MUST(strlen(range_content(&d, size, buf)) < RANGE_CONTENT_SIZE - 1);
}

static void check_date(const char *s)
{
        char buf[HTTP_DATE_SIZE];
        int64_t t, again;

        if (http_date_parse(s, &t) < 0)
                return;
        MUST(http_date_parse(http_date_print(t, buf), &again) == 0);
        MUST(t == again);
}

/* A name becomes a header of plain ASCII, and comes back as it was if it was UTF-8. */
static void check_name(const char *name)
{
        char *value = http_content_disposition("form-data; name=\"n\"", name), *header;
        struct error err = ERROR_INIT;
        struct part_header h;
        size_t size = strlen(value) + 22;

        for (const char *p = value; *p; p++)
                MUST(*p >= ' ' && *p < 0x7f);
        header = malloc(size);
        MUST(header);
        MUST(snprintf(header, size, "Content-Disposition: %s", value) == (int)size - 1);
        MUST(part_header_parse(header, size - 1, &h, &err) == 0);
        MUST(h.filename);
        if (!strstr(value, "%EF%BF%BD"))
                MUST(strcmp(h.filename, name) == 0);
        part_header_done(&h);
        free(header);
        free(value);
}

static void take_line(struct range_conditions *c, char *line)
{
        char **const fields[] = {
                &c->range,         &c->if_range,          &c->if_match,
                &c->if_none_match, &c->if_modified_since, &c->if_unmodified_since
        };
        unsigned which = (unsigned char)line[0] - '0';

        if (which < sizeof(fields) / sizeof(fields[0]))
                *fields[which] = line + 1;
        check_date(line);
        check_name(line);
        free(header_parameter(line, "boundary"));
        (void)header_value_is(line, "multipart/form-data");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *text = malloc(size + 1), *rest = text, *line;
        struct range_conditions c = { .is_get = size % 2 == 0 };

        MUST(text);
        if (size > 0)
                memcpy(text, data, size);
        text[size] = '\0';
        while ((line = strsep(&rest, "\n")))
                take_line(&c, line);
        check_decision(&c, 0);
        check_decision(&c, 1);
        check_decision(&c, 1000);
        check_decision(&c, UINT64_MAX / 2);
        c.is_get = true;
        check_decision(&c, 1000);
        free(text);
        return 0;
}
