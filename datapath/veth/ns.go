// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// threadNS is the namespace of the thread that opens it.
const threadNS = "/proc/thread-self/ns/net"

// NS is a network namespace, held open: it lives until Close, whatever
// becomes of its processes and its name.
type NS struct {
	file *os.File
}

// OpenNS opens the network namespace that path names: a file below
// /run/netns, or /proc/PID/ns/net.
func OpenNS(path string) (*NS, error) {
	// Whatever the path is, opening it waits for nobody.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open network namespace: %w (was it deleted?)", err)
	} else if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	// What is left of a name when its mount is gone is an empty file.
	if kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		f.Close()
		return nil, fmt.Errorf("open network namespace %s: it is none (was it deleted?)", path)
	}
	return &NS{f}, nil
}

// ThreadNS opens the namespace that the caller is in: the process's, or that of
// the Do around it.
func ThreadNS() (*NS, error) { return OpenNS(threadNS) }

// NewNS makes a network namespace without a name; it goes with the last
// reference to it.
func NewNS() (*NS, error) {
	var ns *NS
	err := elsewhere(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		f, err := os.Open(threadNS)
		if err != nil {
			return err
		}
		ns = &NS{f}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make network namespace: %w (needs CAP_SYS_ADMIN)", err)
	}
	return ns, nil
}

// File is the namespace as a file. It is the NS's: not to be closed.
func (ns *NS) File() *os.File { return ns.file }

// Close lets go of the namespace.
func (ns *NS) Close() error { return ns.file.Close() }

// Do calls fn on a thread that is in the namespace, and returns what it
// returned. Goroutines that fn starts are not in it.
func (ns *NS) Do(fn func() error) error {
	return elsewhere(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w (needs CAP_SYS_ADMIN)", ns.file.Name(), err)
		}
		return fn()
	})
}

// do is Do; without a namespace fn stays in the caller's.
func (ns *NS) do(fn func() error) error {
	if ns == nil {
		return fn()
	}
	return ns.Do(fn)
}

// elsewhere calls fn on a thread of its own, which goes back to where it was
// afterwards. One that cannot stays locked to its goroutine and ends with it:
// nothing else ever runs in the wrong place.
func elsewhere(fn func() error) error {
	result := errors.New("the function did not return")
	done := make(chan struct{})
	go func() {
		defer close(done) // also when fn ends its goroutine
		runtime.LockOSThread()
		home, err := os.Open(threadNS)
		if err != nil {
			runtime.UnlockOSThread()
			result = err
			return
		}
		defer func() {
			if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread()
			}
			home.Close()
		}()
		result = fn()
	}()
	<-done
	return result
}
