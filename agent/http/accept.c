/* SPDX-License-Identifier: Apache-2.0 */

/* Which of two representations an Accept header asks for (RFC 9110, 12.5.1): the most specific range that covers a
 * type gives its weight. */

#include "agent/http/accept.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define WEIGHT_ONE 1000u

enum specificity { NO_MATCH, ANY, ANY_SUBTYPE, EXACT };

struct wanted {
        const char *type; /* "text/html" */
        enum specificity specificity;
        unsigned weight; /* thousandths */
};

static bool is_text(const char *s, size_t size, const char *text)
{
        return strlen(text) == size && strncasecmp(s, text, size) == 0;
}

static void trim(const char **s, size_t *size)
{
        while (*size > 0 && (**s == ' ' || **s == '\t')) {
                (*s)++;
                (*size)--;
        }
        while (*size > 0 && ((*s)[*size - 1] == ' ' || (*s)[*size - 1] == '\t'))
                (*size)--;
}

/* "1", "0.8", "0.123" in thousandths; what is none counts as 0. */
static unsigned parse_weight(const char *s, size_t size)
{
        unsigned weight, digit = WEIGHT_ONE / 10;

        if (size == 0 || size > 5 || (s[0] != '0' && s[0] != '1') || (size > 1 && s[1] != '.'))
                return 0;
        weight = s[0] == '1' ? WEIGHT_ONE : 0;
        for (size_t i = 2; i < size; i++, digit /= 10) {
                if (s[i] < '0' || s[i] > '9')
                        return 0;
                weight += (unsigned)(s[i] - '0') * digit;
        }
        return weight > WEIGHT_ONE ? 0 : weight;
}

/* The weight among the parameters @s … @end behind a media range: ";charset=utf-8;q=0.8". */
static unsigned find_weight(const char *s, const char *end)
{
        while (s < end) {
                const char *parameter = s + 1; /* behind the semicolon */
                size_t size = strcspn(parameter, ",;");

                s = parameter + size;
                trim(&parameter, &size);
                if (size >= 2 && strncasecmp(parameter, "q=", 2) == 0)
                        return parse_weight(parameter + 2, size - 2);
        }
        return WEIGHT_ONE;
}

/* "text" followed by a slash and an asterisk. */
static bool is_wildcard_of(const char *range, size_t size, const char *type)
{
        size_t before = strcspn(type, "/") + 1;

        return size == before + 1 && range[before] == '*' && strncasecmp(range, type, before) == 0;
}

static void apply_range(struct wanted *w, const char *range, size_t size, unsigned weight)
{
        enum specificity specificity = NO_MATCH;

        if (is_text(range, size, w->type))
                specificity = EXACT;
        else if (is_wildcard_of(range, size, w->type))
                specificity = ANY_SUBTYPE;
        else if (is_text(range, size, "*/*"))
                specificity = ANY;
        if (specificity > w->specificity) {
                w->specificity = specificity;
                w->weight = weight;
        }
}

/* See the header. */
bool accept_prefers(const char *accept, const char *type, const char *other)
{
        struct wanted first = { type, NO_MATCH, 0 };
        struct wanted second = { other, NO_MATCH, 0 };

        while (accept && *accept) {
                const char *end = accept + strcspn(accept, ",");
                const char *range = accept;
                size_t size = strcspn(range, ",;");
                unsigned weight = find_weight(range + size, end);

                trim(&range, &size);
                apply_range(&first, range, size, weight);
                apply_range(&second, range, size, weight);
                accept = *end ? end + 1 : end;
        }
        return first.weight > second.weight;
}
