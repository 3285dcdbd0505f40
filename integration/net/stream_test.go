// SPDX-License-Identifier: Apache-2.0

package net

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"foundry/datapath/veth"
)

const (
	oneWrite = 1 << 20 // far more than one segment may be
	few      = 16 << 20
)

// much is what the main topologies carry once.
func much() int {
	if testing.Short() {
		return 64 << 20
	}
	return 1 << 30
}

// some is all of a list of cases, or in a quick run the first two.
func some[T any](list []T) []T {
	if testing.Short() {
		return list[:min(2, len(list))]
	}
	return list
}

// streams sends bytes by TCP, with all offloads that the devices have, and
// compares digests.
func (c *container) streams(to *container, ip netip.Addr, n int) {
	c.h.f.Helper()
	begin := time.Now()
	if err := stream(c.ns, to.ns, ip, n); err != nil {
		c.h.f.Errorf("stream %v -> %v by %v: %v", c, to, ip, err)
		return
	}
	took := time.Since(begin)
	c.h.f.Logf("stream %v -> %v by %v: %d MiB in %v, %.2f Gbit/s", c, to, ip, n>>20, took.Round(time.Millisecond), float64(n)*8e-9/took.Seconds())
}

func stream(from, to *veth.NS, ip netip.Addr, n int) error {
	l, err := in(to, func() (net.Listener, error) { return net.Listen("tcp", netip.AddrPortFrom(ip, 0).String()) })
	if err != nil {
		return err
	}
	defer l.Close()
	type result struct {
		digest []byte
		err    error
	}
	got := make(chan result, 1)
	go func() {
		digest, err := swallow(l)
		got <- result{digest, err}
	}()
	conn, err := in(from, func() (net.Conn, error) { return net.DialTimeout("tcp", l.Addr().String(), patience) })
	if err != nil {
		return err
	}
	defer conn.Close()
	want, err := pour(conn, n)
	if err != nil {
		return err
	}
	if r := <-got; r.err != nil {
		return r.err
	} else if !bytes.Equal(r.digest, want) {
		return fmt.Errorf("digest: got %x, want %x", r.digest, want)
	}
	return nil
}

// pour writes n bytes, of which no two blocks are the same, in large writes.
func pour(conn net.Conn, n int) ([]byte, error) {
	h, b := sha256.New(), make([]byte, oneWrite)
	rand.NewChaCha8([32]byte{}).Read(b)
	for sent := 0; sent < n; sent += len(b) {
		binary.BigEndian.PutUint64(b, uint64(sent))
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return nil, err
		}
		h.Write(b)
		if _, err := conn.Write(b); err != nil {
			return nil, fmt.Errorf("after %d bytes: %w", sent, err)
		}
	}
	return h.Sum(nil), conn.(*net.TCPConn).CloseWrite()
}

func swallow(l net.Listener) ([]byte, error) {
	conn, err := l.Accept()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	h := sha256.New()
	_, err = io.CopyBuffer(h, deadlined{conn}, make([]byte, oneWrite))
	return h.Sum(nil), err
}

// deadlined is a connection that must not be silent for long.
type deadlined struct{ net.Conn }

func (d deadlined) Read(b []byte) (int, error) {
	if err := d.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return d.Conn.Read(b)
}

const (
	datagrams    = 40
	datagramSize = 1000
)

// segments sends many datagrams by one system call, as one frame (UDP GSO).
func (c *container) segments(to *container, ip netip.Addr) {
	c.h.f.Helper()
	if err := segments(c.ns, to.ns, ip); err != nil {
		c.h.f.Errorf("datagrams %v -> %v by %v: %v", c, to, ip, err)
	}
}

func segments(from, to *veth.NS, ip netip.Addr) error {
	sink, err := in(to, func() (net.PacketConn, error) { return net.ListenPacket("udp", netip.AddrPortFrom(ip, 0).String()) })
	if err != nil {
		return err
	}
	defer sink.Close()
	config := net.ListenConfig{Control: segmenting}
	source, err := in(from, func() (net.PacketConn, error) {
		if ip.Is4() {
			return config.ListenPacket(context.Background(), "udp4", ":0")
		}
		return config.ListenPacket(context.Background(), "udp6", ":0")
	})
	if err != nil {
		return err
	}
	defer source.Close()
	whole := make([]byte, datagrams*datagramSize)
	rand.NewChaCha8([32]byte{}).Read(whole)
	if _, err := source.WriteTo(whole, sink.LocalAddr()); err != nil {
		return err
	}
	return collect(sink, whole)
}

// collect wants all the datagrams, each of the size that it was cut to.
func collect(sink net.PacketConn, whole []byte) error {
	if err := sink.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	b := make([]byte, 1<<16)
	for i := range datagrams {
		n, _, err := sink.ReadFrom(b)
		if err != nil {
			return fmt.Errorf("after %d datagrams: %w", i, err)
		}
		if !bytes.Equal(b[:n], whole[i*datagramSize:(i+1)*datagramSize]) {
			return fmt.Errorf("datagram %d: %d bytes, or others than were sent", i, n)
		}
	}
	return nil
}

func segmenting(_, _ string, raw syscall.RawConn) (err error) {
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, datagramSize)
	})
	return errors.Join(failed, err)
}
