#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""no-avx.py IN OUT [IN OUT]...: copies of programs that see a processor without AVX.

A guest under no-xstate.py must not use the AVX registers. What decides is the
answer of XGETBV, by which glibc (in its loader for all libraries, or in a
static program) and Go learn whether the system keeps these registers. In the
copies the answer is none. Unlike a variable this holds whatever environment a
program is given, so in containers and in servers that clean theirs.
"""
import os
import re
import sys

# ECX is made 0 (xor, or mov as Go does) and XGETBV becomes xor %eax, %eax; nop.
ASK = re.compile(rb'(\x31\xc9|\xb9\0\0\0\0)\x0f\x01\xd0')
TOLD = b'\x31\xc0\x90'

for source, copy in zip(sys.argv[1::2], sys.argv[2::2]):
    with open(source, 'rb') as f:
        code = f.read()
    with open(copy, 'wb') as f:
        f.write(ASK.sub(lambda m: m.group(1) + TOLD, code))
    os.chmod(copy, os.stat(source).st_mode & 0o7777)
