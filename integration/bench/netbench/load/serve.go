// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// server takes what clients send.
type server struct {
	bytes, datagrams atomic.Uint64
}

// serve answers until nobody is there to tell it more.
func serve(ip netip.Addr) error {
	s := &server{}
	failed := make(chan error)
	for port, each := range map[int]func(conn) error{portControl: s.control, portStream: s.sink, portRR: echo, portCRR: once} {
		l, err := listen(ip, port)
		if err != nil {
			return err
		}
		go func() { failed <- accept(l, port != portCRR, each) }()
	}
	u, err := socket(ip, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	if err := unix.Bind(int(u), sockaddr(ip, portUDP)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	go func() { failed <- s.collect(u) }()
	if _, err := os.Stdout.WriteString("ready\n"); err != nil {
		return err
	}
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		failed <- err
	}()
	return <-failed
}

// accept serves connections, side by side or one after the other.
func accept(l conn, together bool, each func(conn) error) error {
	for {
		c, err := l.accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		serveOne := func() {
			// A client that is gone is no error of the server's.
			_ = each(c)
			_ = c.close()
		}
		if together {
			go serveOne()
		} else {
			serveOne()
		}
	}
}

// sink counts what comes.
func (s *server) sink(c conn) error {
	b := make([]byte, 256<<10)
	for {
		n, err := c.read(b)
		if n <= 0 {
			return err
		}
		s.bytes.Add(uint64(n))
	}
}

// echo returns each byte.
func echo(c conn) error {
	if err := unix.SetsockoptInt(int(c), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	var b [64]byte
	for {
		n, err := c.read(b[:])
		if n <= 0 {
			return err
		}
		if _, err := c.write(b[:n]); err != nil {
			return err
		}
	}
}

// once returns one and closes, first: so it is here that closed connections
// linger, and clients do not run out of ports.
func once(c conn) error {
	var b [1]byte
	if n, err := c.read(b[:]); n <= 0 {
		return err
	}
	_, err := c.write(b[:])
	return err
}

// sample is what the server knows at one moment, by its own clock.
type sample struct {
	Time, Bytes, Datagrams, Busy uint64
}

// control answers each byte with a sample.
func (s *server) control(c conn) error {
	var b [1]byte
	for {
		if n, err := c.read(b[:]); n <= 0 {
			return err
		}
		now, err := s.sample()
		if err != nil {
			return err
		}
		reply, err := binary.Append(nil, binary.NativeEndian, now)
		if err != nil {
			return err
		}
		if _, err := c.write(reply); err != nil {
			return err
		}
	}
}

func (s *server) sample() (sample, error) {
	busy, err := busyTicks()
	if err != nil {
		return sample{}, err
	}
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return sample{}, fmt.Errorf("read clock: %w", err)
	}
	return sample{uint64(t.Nano()), s.bytes.Load(), s.datagrams.Load(), busy}, nil
}
