/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"
#include <stdarg.h>
#include <string.h>

struct out {
	char *buf;
	size_t cap, len;
};

static void put(struct out *o, const char *s, size_t n)
{
	if (n > o->cap - 1 - o->len)
		n = o->cap - 1 - o->len;
	memcpy(o->buf + o->len, s, n);
	o->len += n;
}

static void put_number(struct out *o, long v)
{
	char digits[24];
	size_t at = sizeof digits;
	unsigned long u = v < 0 ? -(unsigned long)v : (unsigned long)v;

	do
		digits[--at] = '0' + u % 10;
	while (u /= 10);
	if (v < 0)
		digits[--at] = '-';
	put(o, digits + at, sizeof digits - at);
}

void text_format(char *buf, size_t cap, const char *fmt, ...)
{
	struct out o = {buf, cap, 0};
	va_list args;
	const char *s;

	if (cap == 0)
		return;
	va_start(args, fmt);
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put(&o, fmt, 1);
			continue;
		}
		switch (*++fmt) {
		case 'd':
			put_number(&o, va_arg(args, long));
			break;
		case 's':
		case 'q':
			s = va_arg(args, const char *);
			put(&o, "\"", *fmt == 'q');
			put(&o, s, strlen(s));
			put(&o, "\"", *fmt == 'q');
			break;
		}
	}
	va_end(args);
	o.buf[o.len] = 0;
}

long text_number(const char *s)
{
	long v = 0;

	if (!*s)
		return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || v > 1000000000)
			return -1;
		v = v * 10 + (*s - '0');
	}
	return v;
}
