/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FOUNDRY_TEXT_H
#define FOUNDRY_TEXT_H
#include <stddef.h>

/* Formats into buf, always NUL terminated, cut when too long. Knows %s, %d
 * (long), and %q (a quoted string). stdio would be half of the program. */
void text_format(char *buf, size_t cap, const char *fmt, ...);
/* The number in s, all of which must be digits; -1 when it is not one. */
long text_number(const char *s);
#endif
