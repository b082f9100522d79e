/* SPDX-License-Identifier: Apache-2.0 */

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"

#define MAX_DIGITS 19

/* The number of @n digits at *@s, which is moved behind them; -1: they are not there. */
static int take_digits(const char **s, int n)
{
        int value = 0;

        for (int i = 0; i < n; i++) {
                if (!isdigit((unsigned char)(*s)[i]))
                        return -1;
                value = 10 * value + ((*s)[i] - '0');
        }
        *s += n;
        return value;
}

static bool take_char(const char **s, const char *any_of)
{
        if (!**s || !strchr(any_of, **s))
                return false;
        (*s)++;
        return true;
}

/* ".123456789": microseconds. */
static int64_t take_fraction(const char **s)
{
        int64_t us = 0, unit = 100000;

        if (!take_char(s, "."))
                return 0;
        if (!isdigit((unsigned char)**s))
                return -1;
        for (; isdigit((unsigned char)**s); (*s)++, unit /= 10)
                us += unit * (**s - '0');
        return us;
}

/* "Z", "+01:00" or "-0130": seconds east of Greenwich. */
static bool take_zone(const char **s, int *ret_s)
{
        bool is_west = **s == '-';
        int hours, minutes;

        *ret_s = 0;
        if (take_char(s, "Zz"))
                return true;
        if (!take_char(s, "+-"))
                return false;
        hours = take_digits(s, 2);
        (void)take_char(s, ":");
        minutes = take_digits(s, 2);
        *ret_s = (hours * 60 + minutes) * (is_west ? -60 : 60);
        return hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60;
}

static int parse_rfc3339(const char *s, int64_t *ret_us)
{
        struct tm tm = { 0 }, given;
        int64_t us;
        int zone_s;
        time_t t;

        tm.tm_year = take_digits(&s, 4) - 1900;
        tm.tm_mon = take_char(&s, "-") ? take_digits(&s, 2) - 1 : -1;
        tm.tm_mday = take_char(&s, "-") ? take_digits(&s, 2) : -1;
        tm.tm_hour = take_char(&s, "Tt ") ? take_digits(&s, 2) : -1;
        tm.tm_min = take_char(&s, ":") ? take_digits(&s, 2) : -1;
        tm.tm_sec = take_char(&s, ":") ? take_digits(&s, 2) : -1;
        if (tm.tm_year < 70 || tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 ||
            tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 ||
            tm.tm_sec > 60)
                return -EINVAL;
        us = take_fraction(&s);
        if (us < 0 || !take_zone(&s, &zone_s) || *s)
                return -EINVAL;
        given = tm;
        t = timegm(&tm); /* makes the 30th of February a day in March */
        if (tm.tm_mday != given.tm_mday && given.tm_sec < 60)
                return -EINVAL;
        *ret_us = ((int64_t)t - zone_s) * 1000000 + us;
        return *ret_us < 0 ? -EINVAL : 0;
}

/* See the header. */
int clock_parse(const char *text, int64_t *ret_us)
{
        size_t n = strspn(text, "0123456789");
        long long number;

        if (n == 0 || text[n] != '\0')
                return parse_rfc3339(text, ret_us);
        if (n > MAX_DIGITS || sscanf(text, "%lld", &number) != 1 || number < 0)
                return -EINVAL;
        if (n <= 11)
                *ret_us = number * 1000000;
        else if (n <= 14)
                *ret_us = number * 1000;
        else
                *ret_us = n <= 17 ? number : number / 1000;
        return 0;
}
