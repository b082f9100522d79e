/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Texts of headers: dates and file names. */

#include <stddef.h>
#include <stdint.h>

#include "agent/base/macros.h"

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
#define HTTP_DATE_SIZE 32
/* @seconds since 1970, within the years 0 … 9999 (else the nearest). Returns @buf. */
const char *http_date_print(int64_t seconds, char buf[static HTTP_DATE_SIZE]);
/* All three forms that RFC 9110 wants to be understood. -EINVAL: none of them, or no such date. */
int http_date_parse(const char *s, int64_t *ret);

/* The value of Content-Disposition for a file called @name (any bytes; the last component of a path): always plain
 * ASCII in "filename", and the exact name in "filename*" when that differs. @disposition is "attachment" or
 * "inline". Bytes that are no UTF-8 become U+FFFD. A new string. */
char *http_content_disposition(const char *disposition, const char *name);
