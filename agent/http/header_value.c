/* SPDX-License-Identifier: Apache-2.0 */

/* Dates and file names as headers have them. Nothing here depends on the locale. */

#include "agent/http/header_value.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/base/buf.h"
#include "agent/base/utf8.h"

#define YEAR_0    (-62167219200) /* seconds */
#define YEAR_9999 253402300799

static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
static const char *const long_days[7] = { "Sunday",   "Monday", "Tuesday", "Wednesday",
                                          "Thursday", "Friday", "Saturday" };
static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

/* See the header. */
const char *http_date_print(int64_t seconds, char buf[static HTTP_DATE_SIZE])
{
        time_t t = (time_t)MIN(MAX(seconds, (int64_t)YEAR_0), (int64_t)YEAR_9999);
        struct tm tm = { 0 };

        (void)gmtime_r(&t, &tm);
        snprintf(buf, HTTP_DATE_SIZE, "%s, %02d %s %04d %02d:%02d:%02d GMT",
                 days[(unsigned)tm.tm_wday % 7], tm.tm_mday, months[(unsigned)tm.tm_mon % 12],
                 (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec);
        return buf;
}

/* --- parsing: each function moves *p behind what it has read --- */

static bool read_text(const char **p, const char *text)
{
        size_t size = strlen(text);

        if (strncmp(*p, text, size) != 0)
                return false;
        *p += size;
        return true;
}

/* @digits of them, exactly; the first may be a blank when @blank is. */
static bool read_number(const char **p, unsigned digits, bool blank, int *ret)
{
        int value = 0;

        for (unsigned i = 0; i < digits; i++, ++*p) {
                if (i == 0 && blank && **p == ' ')
                        continue;
                if (**p < '0' || **p > '9')
                        return false;
                value = value * 10 + (**p - '0');
        }
        *ret = value;
        return true;
}

static bool read_month(const char **p, int *ret)
{
        for (int i = 0; i < 12; i++) {
                if (!read_text(p, months[i]))
                        continue;
                *ret = i;
                return true;
        }
        return false;
}

static bool read_time(const char **p, struct tm *tm)
{
        return read_number(p, 2, false, &tm->tm_hour) && read_text(p, ":") &&
               read_number(p, 2, false, &tm->tm_min) && read_text(p, ":") &&
               read_number(p, 2, false, &tm->tm_sec);
}

static bool read_year(const char **p, struct tm *tm)
{
        bool ok = read_number(p, 4, false, &tm->tm_year);

        tm->tm_year -= 1900;
        return ok;
}

/* " 06 Nov 1994 08:49:37 GMT" */
static bool read_imf(const char *p, struct tm *tm)
{
        return read_text(&p, " ") && read_number(&p, 2, false, &tm->tm_mday) &&
               read_text(&p, " ") && read_month(&p, &tm->tm_mon) && read_text(&p, " ") &&
               read_year(&p, tm) && read_text(&p, " ") && read_time(&p, tm) &&
               read_text(&p, " GMT") && *p == '\0';
}

/* " 06-Nov-94 08:49:37 GMT"; which century: at most fifty years ahead. */
static bool read_rfc850(const char *p, struct tm *tm)
{
        time_t now = time(NULL);
        struct tm today = { 0 };

        if (!(read_text(&p, " ") && read_number(&p, 2, false, &tm->tm_mday) && read_text(&p, "-") &&
              read_month(&p, &tm->tm_mon) && read_text(&p, "-") &&
              read_number(&p, 2, false, &tm->tm_year) && read_text(&p, " ") && read_time(&p, tm) &&
              read_text(&p, " GMT") && *p == '\0'))
                return false;
        (void)gmtime_r(&now, &today);
        tm->tm_year += today.tm_year / 100 * 100;
        if (tm->tm_year > today.tm_year + 50)
                tm->tm_year -= 100;
        return true;
}

/* " Nov  6 08:49:37 1994" */
static bool read_asctime(const char *p, struct tm *tm)
{
        return read_text(&p, " ") && read_month(&p, &tm->tm_mon) && read_text(&p, " ") &&
               read_number(&p, 2, true, &tm->tm_mday) && read_text(&p, " ") && read_time(&p, tm) &&
               read_text(&p, " ") && read_year(&p, tm) && *p == '\0';
}

static bool read_date(const char *s, struct tm *tm)
{
        for (int i = 0; i < 7; i++) {
                const char *p = s;

                if (read_text(&p, long_days[i]) && read_text(&p, ","))
                        return read_rfc850(p, tm);
                p = s;
                if (read_text(&p, days[i]))
                        return read_text(&p, ",") ? read_imf(p, tm) : read_asctime(p, tm);
        }
        return false;
}

/* See the header. */
int http_date_parse(const char *s, int64_t *ret)
{
        struct tm tm = { 0 }, same;
        time_t t;

        if (!read_date(s, &tm) || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
                return -EINVAL;
        tm.tm_sec = MIN(tm.tm_sec, 59); /* a leap second */
        same = tm;
        t = timegm(&same);
        if (same.tm_mday != tm.tm_mday || same.tm_mon != tm.tm_mon) /* the 31st of a short month */
                return -EINVAL;
        *ret = t;
        return 0;
}

/* --- file names --- */

static bool is_attr_char(unsigned char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               (c != '\0' && strchr("!#$&+-.^_`|~", c));
}

/* Not quotes and backslashes, which clients unescape in different ways, nor "%", which some decode. */
static bool is_plain(unsigned char c)
{
        return c >= ' ' && c < 0x7f && c != '"' && c != '\\' && c != '%' && c != '/';
}

/* @name in UTF-8, whatever it was. */
static void repair(const char *name, struct buf *ret)
{
        size_t size = strlen(name);

        while (size > 0) {
                size_t n = 1;

                while (n < MIN(size, (size_t)4) && !utf8_is_valid(name, n))
                        n++;
                if (utf8_is_valid(name, n)) {
                        (void)buf_append(ret, name, n);
                } else {
                        (void)buf_append_str(ret, "\xef\xbf\xbd");
                        n = 1;
                }
                name += n;
                size -= n;
        }
}

/* See the header. */
char *http_content_disposition(const char *disposition, const char *name)
{
        CLEANUP(buf_done) struct buf utf8;
        struct buf b;
        bool is_exact = true;
        size_t size;

        buf_init(&utf8, 0);
        buf_init(&b, 0);
        repair(name, &utf8);
        (void)buf_appendf(&b, "%s; filename=\"", disposition);
        for (size_t i = 0; i < utf8.size; i++) {
                unsigned char c = (unsigned char)utf8.data[i];

                if ((c & 0xc0) == 0x80) /* one character, one replacement */
                        continue;
                is_exact = is_exact && is_plain(c);
                (void)buf_append(&b, is_plain(c) ? (const char *)&c : "_", 1);
        }
        (void)buf_append_str(&b, "\"");
        if (!is_exact) {
                (void)buf_append_str(&b, "; filename*=UTF-8''");
                for (size_t i = 0; i < utf8.size; i++) {
                        unsigned char c = (unsigned char)utf8.data[i];

                        if (is_attr_char(c))
                                (void)buf_append(&b, &c, 1);
                        else
                                (void)buf_appendf(&b, "%%%02X", c);
                }
        }
        return buf_steal(&b, &size);
}
