/* SPDX-License-Identifier: Apache-2.0 */

/* A state for each place in the grammar, one bit per level for what it is inside of. Only the insides of strings, which
 * are nearly everything when it is large, have a faster way than byte by byte. */

#include "agent/json/scan.h"

#include <assert.h>
#include <string.h>

#include "agent/base/limits.h"
#include "agent/json/plain.h"

enum state {
        SCAN_START, /* the object's brace */
        SCAN_KEY_OR_END,
        SCAN_KEY,
        SCAN_COLON,
        SCAN_VALUE,
        SCAN_VALUE_OR_END,
        SCAN_AFTER, /* a comma, or the end of what it is in */
        SCAN_STRING,
        SCAN_ESCAPE,
        SCAN_DIGITS,
        SCAN_SECOND_BACKSLASH, /* of a pair of surrogates */
        SCAN_SECOND_U,
        SCAN_LITERAL,
        /* Numbers: what has been read of one. */
        SCAN_MINUS,
        SCAN_ZERO,
        SCAN_INTEGER,
        SCAN_POINT,
        SCAN_FRACTION,
        SCAN_E,
        SCAN_E_SIGN,
        SCAN_EXPONENT,
        SCAN_DONE,
        SCAN_BAD,
};

_Static_assert(LIMIT_JSON_DEPTH <= 64, "a bit for each level");

/* See the header. */
void json_scan_init(struct json_scan *s)
{
        *s = (struct json_scan){ .state = SCAN_START };
        utf8_decoder_init(&s->utf8);
}

static bool is_space(char c)
{
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

/* NULL: we are deeper, or there were too many of them. */
static struct json_member *current_member(struct json_scan *s)
{
        return s->depth == 1 && s->n_members >= 1 && s->n_members <= JSON_SCAN_MEMBERS
                       ? &s->members[s->n_members - 1]
                       : NULL;
}

static enum state begin_string(struct json_scan *s, bool is_key)
{
        s->is_key = is_key;
        if (is_key && s->depth == 1) {
                s->n_members++;
                if (current_member(s))
                        current_member(s)->key.start = s->offset + 1;
        }
        return SCAN_STRING;
}

/* @end is the offset behind it; the level is the one it is in. */
static enum state end_value(struct json_scan *s, size_t end)
{
        struct json_member *m = current_member(s);

        if (m)
                m->value.size = end - m->value.start;
        return s->depth == 0 ? SCAN_DONE : SCAN_AFTER;
}

static enum state end_string(struct json_scan *s)
{
        struct json_member *m = current_member(s);

        if (!s->is_key)
                return end_value(s, s->offset + 1);
        if (m)
                m->key.size = s->offset - m->key.start;
        return SCAN_COLON;
}

static enum state open_bracket(struct json_scan *s, bool is_object)
{
        if (s->depth == LIMIT_JSON_DEPTH)
                return SCAN_BAD;
        s->is_object = s->is_object << 1 | is_object;
        s->depth++;
        return is_object ? SCAN_KEY_OR_END : SCAN_VALUE_OR_END;
}

static enum state close_bracket(struct json_scan *s, char c)
{
        if (c != (s->is_object & 1 ? '}' : ']'))
                return SCAN_BAD;
        s->is_object >>= 1;
        s->depth--;
        return end_value(s, s->offset + 1);
}

static enum state begin_literal(struct json_scan *s, const char *rest)
{
        s->literal = rest;
        return SCAN_LITERAL;
}

static enum state begin_value(struct json_scan *s, char c)
{
        struct json_member *m = current_member(s);

        if (m)
                m->value.start = s->offset;
        switch (c) {
        case '"':
                return begin_string(s, false);
        case '{':
        case '[':
                return open_bracket(s, c == '{');
        case 't':
                return begin_literal(s, "rue");
        case 'f':
                return begin_literal(s, "alse");
        case 'n':
                return begin_literal(s, "ull");
        case '-':
                return SCAN_MINUS;
        case '0':
                return SCAN_ZERO;
        default:
                return is_digit(c) ? SCAN_INTEGER : SCAN_BAD;
        }
}

static enum state after_value(struct json_scan *s, char c)
{
        if (c == ',')
                return s->is_object & 1 ? SCAN_KEY : SCAN_VALUE;
        return close_bracket(s, c);
}

/* What may stand between two values, and with what they begin. */
static enum state step_structure(struct json_scan *s, char c)
{
        if (is_space(c))
                return (enum state)s->state;
        switch (s->state) {
        case SCAN_START:
                return c == '{' ? open_bracket(s, true) : SCAN_BAD;
        case SCAN_KEY_OR_END:
                return c == '"' ? begin_string(s, true) : close_bracket(s, c);
        case SCAN_KEY:
                return c == '"' ? begin_string(s, true) : SCAN_BAD;
        case SCAN_COLON:
                return c == ':' ? SCAN_VALUE : SCAN_BAD;
        case SCAN_VALUE:
                return begin_value(s, c);
        case SCAN_VALUE_OR_END:
                return c == ']' ? close_bracket(s, c) : begin_value(s, c);
        case SCAN_AFTER:
                return after_value(s, c);
        default: /* after the end */
                return SCAN_BAD;
        }
}

static enum state step_literal(struct json_scan *s, char c)
{
        if (c != *s->literal)
                return SCAN_BAD;
        s->literal++;
        return *s->literal ? SCAN_LITERAL : end_value(s, s->offset + 1);
}

/* The byte behind a number belongs to what comes next. */
static enum state end_number(struct json_scan *s, char c)
{
        s->state = (int)end_value(s, s->offset);
        return step_structure(s, c);
}

static enum state step_number(struct json_scan *s, char c)
{
        bool is_e = c == 'e' || c == 'E';

        switch (s->state) {
        case SCAN_MINUS:
                return c == '0' ? SCAN_ZERO : is_digit(c) ? SCAN_INTEGER : SCAN_BAD;
        case SCAN_INTEGER:
                if (is_digit(c))
                        return SCAN_INTEGER;
                __attribute__((fallthrough));
        case SCAN_ZERO:
                return c == '.' ? SCAN_POINT : is_e ? SCAN_E : end_number(s, c);
        case SCAN_POINT:
                return is_digit(c) ? SCAN_FRACTION : SCAN_BAD;
        case SCAN_FRACTION:
                return is_digit(c) ? SCAN_FRACTION : is_e ? SCAN_E : end_number(s, c);
        case SCAN_E:
                if (c == '+' || c == '-')
                        return SCAN_E_SIGN;
                __attribute__((fallthrough));
        case SCAN_E_SIGN:
                return is_digit(c) ? SCAN_EXPONENT : SCAN_BAD;
        default:
                return is_digit(c) ? SCAN_EXPONENT : end_number(s, c);
        }
}

static int hex_value(char c)
{
        if (is_digit(c))
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

/* A surrogate is half a character, and means nothing but in a pair. */
static enum state step_digits(struct json_scan *s, char c)
{
        int value = hex_value(c);
        bool is_low;

        if (value < 0)
                return SCAN_BAD;
        s->unit = s->unit << 4 | (uint32_t)value;
        if (--s->n_digits > 0)
                return SCAN_DIGITS;
        is_low = s->unit >= 0xdc00 && s->unit <= 0xdfff;
        if (is_low != s->is_pair)
                return SCAN_BAD;
        s->is_pair = s->unit >= 0xd800 && s->unit < 0xdc00;
        return s->is_pair ? SCAN_SECOND_BACKSLASH : SCAN_STRING;
}

static enum state begin_digits(struct json_scan *s)
{
        s->n_digits = 4;
        s->unit = 0;
        return SCAN_DIGITS;
}

static enum state step_escape(struct json_scan *s, char c)
{
        if (c == 'u')
                return begin_digits(s);
        return c != '\0' && strchr("\"\\/bfnrt", c) ? SCAN_STRING : SCAN_BAD;
}

static enum state step_string(struct json_scan *s, char c)
{
        unsigned char byte = (unsigned char)c;

        if (byte >= 0x80 || utf8_decoder_is_pending(&s->utf8)) {
                enum utf8_step step = utf8_decode_byte(&s->utf8, byte);

                return step == UTF8_MORE || step == UTF8_CHAR ? SCAN_STRING : SCAN_BAD;
        }
        if (c == '"')
                return end_string(s);
        if (c == '\\')
                return SCAN_ESCAPE;
        return byte < 0x20 ? SCAN_BAD : SCAN_STRING;
}

static enum state step(struct json_scan *s, char c)
{
        switch (s->state) {
        case SCAN_STRING:
                return step_string(s, c);
        case SCAN_ESCAPE:
                return step_escape(s, c);
        case SCAN_DIGITS:
                return step_digits(s, c);
        case SCAN_SECOND_BACKSLASH:
                return c == '\\' ? SCAN_SECOND_U : SCAN_BAD;
        case SCAN_SECOND_U:
                return c == 'u' ? begin_digits(s) : SCAN_BAD;
        case SCAN_LITERAL:
                return step_literal(s, c);
        case SCAN_MINUS ... SCAN_EXPONENT:
                return step_number(s, c);
        default:
                return step_structure(s, c);
        }
}

/* See the header. */
bool json_scan_feed(struct json_scan *s, const char *data, size_t size)
{
        const char *end = data + size;

        while (data < end && s->state != SCAN_BAD) {
                size_t n = 0;

                if (s->state == SCAN_STRING && end - data >= 8 &&
                    !utf8_decoder_is_pending(&s->utf8))
                        n = json_count_plain(data);
                if (n == 0) {
                        s->state = (int)step(s, *data);
                        n = 1;
                }
                s->offset += n;
                data += n;
        }
        return s->state != SCAN_BAD;
}

/* See the header. */
bool json_scan_is_complete(const struct json_scan *s)
{
        return s->state == SCAN_DONE;
}
