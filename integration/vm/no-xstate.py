#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""no-xstate.py PROGRAM ARGS...: run PROGRAM without ptrace's NT_X86_XSTATE.

User-mode Linux before 6.13 moves the floating point registers of its guests'
threads through a buffer whose size was fixed when it was built. A host kernel
on a processor with AMX takes only the larger size of its own (EFAULT), and the
guest's first process dies. Told at its start that there is no such register
set, user-mode Linux falls back to FXSAVE. That does not cover the upper halves
of the AVX registers, which every page fault of a guest's process clears then:
boot-uml.sh asks glibc and Go in the guest not to use them.

The filter is a few instructions of classic BPF on ptrace's arguments.
"""
import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38
SYS_PTRACE, NT_X86_XSTATE = 101, 0x202
LOAD, JEQ, RET = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7fff0000, 0x00050000 | errno.EIO
NR, ARG2 = 0, 32  # offsets in struct seccomp_data


def instruction(code, k, true=0, false=0):
    return struct.pack('HBBI', code, true, false, k)


program = b''.join([
    instruction(LOAD, NR),
    instruction(JEQ, SYS_PTRACE, 0, 3),
    instruction(LOAD, ARG2),
    instruction(JEQ, NT_X86_XSTATE, 0, 1),
    instruction(RET, REFUSE),
    instruction(RET, ALLOW),
])
code = ctypes.create_string_buffer(program, len(program))
fprog = struct.pack('HxxxxxxP', len(program) // 8, ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, fprog, 0, 0):
    sys.exit('no-xstate.py: seccomp: ' + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
