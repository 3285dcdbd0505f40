#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""extract-vmlinux.py BZIMAGE OUT: the uncompressed ELF kernel in a bzImage.

QEMU starts an ELF kernel through its PVH entry, which saves the guest from
decompressing itself under emulation. The setup header says where the payload
is (Documentation/arch/x86/boot.rst), so nothing is searched for.
"""
import struct
import subprocess
import sys

DECOMPRESS = {
    b'\xfd7zXZ\0': ['xz', '-dc', '--single-stream'],  # the kernel appends a size
    b'\x02!L\x18': ['lz4', '-dc'],
    b'\x28\xb5\x2f\xfd': ['zstd', '-dc'],
    b'\x1f\x8b': ['gzip', '-dc'],
}

image = open(sys.argv[1], 'rb').read()
if image[0x202:0x206] != b'HdrS':
    sys.exit('%s: not a bzImage' % sys.argv[1])
sectors = image[0x1f1] or 4
offset, length = struct.unpack_from('<II', image, 0x248)
start = (sectors + 1) * 512 + offset
payload = image[start:start + length]
for magic, command in DECOMPRESS.items():
    if payload.startswith(magic):
        break
else:
    sys.exit('%s: unknown compression %r' % (sys.argv[1], payload[:6]))
# The exit code says nothing: the appended size is trailing garbage to them.
kernel = subprocess.run(command, input=payload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
if not kernel.startswith(b'\x7fELF'):
    sys.exit('%s: %s gave no ELF file' % (sys.argv[1], command[0]))
with open(sys.argv[2], 'wb') as out:
    out.write(kernel)
