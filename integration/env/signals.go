// SPDX-License-Identifier: Apache-2.0

package env

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"
)

// disposition is the kernel's struct sigaction.
type disposition struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const (
	byDefault = 0 // SIG_DFL
	ignored   = 1 // SIG_IGN
	lastSig   = 64
)

// ResetSignals is for TestMain: what the tests start no longer ignores signals
// because whoever started the tests did. runc hands that on to its containers,
// Foundry does not, and a comparison would find it. It may well be a signal that
// no libc lets anybody set, such as 32, the threads library's own.
//
// The test program itself goes on ignoring SIGHUP and SIGINT, if it did: it may
// run below nohup.
func ResetSignals() error {
	for n := syscall.Signal(1); n <= lastSig; n++ {
		if signal.Ignored(n) {
			signal.Notify(make(chan os.Signal, 1), n) // a handler, which does not outlive an exec, for those that Go has one for
		}
		was, err := sigaction(n, nil)
		if err == nil && was.handler == ignored {
			_, err = sigaction(n, &disposition{handler: byDefault})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// IgnoreSignal makes the program, and what it starts, ignore a signal.
func IgnoreSignal(n syscall.Signal) error {
	_, err := sigaction(n, &disposition{handler: ignored})
	return err
}

// sigaction asks the kernel: os/signal leaves some signals to a libc.
func sigaction(n syscall.Signal, set *disposition) (was disposition, err error) {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(&was)), unsafe.Sizeof(was.mask), 0, 0)
	if errno != 0 {
		return was, os.NewSyscallError("rt_sigaction", errno)
	}
	return was, nil
}
