// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	smallest = 18 // with its headers this makes a frame of 60 bytes
	batch    = 32
)

// message is struct mmsghdr.
type message struct {
	hdr unix.Msghdr
	n   uint32
}

// messages are buffers for one system call.
func messages() []message {
	list := make([]message, batch)
	for i := range list {
		b := make([]byte, smallest)
		v := &unix.Iovec{Base: &b[0]}
		v.SetLen(len(b))
		list[i].hdr.Iov = v
		list[i].hdr.SetIovlen(1)
	}
	return list
}

// many sends or receives a batch and returns how many it were.
func (c conn) many(call, flags uintptr, list []message) (int, error) {
	for {
		n, _, errno := unix.Syscall6(call, uintptr(c), uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// collect counts datagrams.
func (s *server) collect(u conn) error {
	list := messages()
	for {
		n, err := u.many(unix.SYS_RECVMMSG, unix.MSG_WAITFORONE, list)
		if err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("receive: %w", err)
		}
		s.datagrams.Add(uint64(n))
	}
}

// udp sends as fast as it can.
func udp(j job) (Result, error) {
	u, err := socket(j.to, unix.SOCK_DGRAM)
	if err != nil {
		return Result{}, err
	}
	if err := unix.Connect(int(u), sockaddr(j.to, portUDP)); err != nil {
		return Result{}, fmt.Errorf("connect: %w", err)
	}
	m, err := newMeter(j)
	if err != nil {
		return Result{}, err
	}
	list, result := messages(), make(chan measured, 1)
	go func() { result <- m.window() }()
	for {
		select {
		case got := <-result:
			return got.Result, got.err
		default:
		}
		if _, err := u.many(unix.SYS_SENDMMSG, 0, list); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return Result{}, fmt.Errorf("send: %w", err)
		}
	}
}
