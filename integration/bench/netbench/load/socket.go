// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// conn is a socket that blocks.
type conn int

func sockaddr(ip netip.Addr, port int) unix.Sockaddr {
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: port, Addr: ip.As4()}
	}
	return &unix.SockaddrInet6{Port: port, Addr: ip.As16()}
}

func socket(ip netip.Addr, kind int) (conn, error) {
	family := unix.AF_INET
	if ip.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make socket: %w", err)
	}
	return conn(fd), nil
}

func listen(ip netip.Addr, port int) (conn, error) {
	c, err := socket(ip, unix.SOCK_STREAM)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(int(c), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return -1, fmt.Errorf("set option: %w", err)
	}
	if err := unix.Bind(int(c), sockaddr(ip, port)); err != nil {
		return -1, fmt.Errorf("bind %v, %d: %w", ip, port, err)
	}
	return c, unix.Listen(int(c), 1024)
}

func (c conn) accept() (conn, error) {
	for {
		fd, _, err := unix.Accept4(int(c), unix.SOCK_CLOEXEC)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED) {
			return conn(fd), err
		}
	}
}

func dial(ip netip.Addr, port int) (conn, error) {
	c, err := socket(ip, unix.SOCK_STREAM)
	if err != nil {
		return -1, err
	}
	for {
		err = unix.Connect(int(c), sockaddr(ip, port))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, fmt.Errorf("connect to %v, %d: %w", ip, port, err)
		}
		return c, unix.SetsockoptInt(int(c), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
}

func (c conn) read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(c), b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func (c conn) write(b []byte) (int, error) {
	for {
		n, err := unix.Write(int(c), b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func (c conn) close() error { return unix.Close(int(c)) }
