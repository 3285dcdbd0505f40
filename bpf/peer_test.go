// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// asPeer makes the test's own program one end of a connection, so that it can
// be run in a container's namespace: "serve ADDRESS" and "send ADDRESS" by
// TCP, "collect ADDRESS" and "segments ADDRESS" by UDP, or "offload DEVICE",
// which turns checksum offload off and GRO on there, or "hide ADDRESS".
const asPeer = "FOUNDRY_TEST_PEER"

const (
	sentBytes = 32 << 20
	oneWrite  = 1 << 20 // far more than one segment may be
	patience  = 20 * time.Second
)

func peer(what string) error {
	switch verb, object, _ := strings.Cut(what, " "); verb {
	case "serve":
		return serve(object)
	case "send":
		return send(object)
	case "collect":
		return collect(object)
	case "segments":
		return segments(object)
	case "hide":
		return hide(object)
	default:
		return forXDP(object)
	}
}

// serve answers one connection with the digest of what it sent.
func serve(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	c, err := l.Accept()
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, c); err != nil {
		return err
	}
	_, err = io.WriteString(c, hex.EncodeToString(h.Sum(nil)))
	return errors.Join(err, c.Close())
}

func send(address string) error {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	h, b := sha256.New(), fill(oneWrite)
	for range sentBytes / oneWrite {
		h.Write(b)
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if want := hex.EncodeToString(h.Sum(nil)); string(got) != want {
		return fmt.Errorf("got digest %q, want %q", got, want)
	}
	fmt.Fprintln(os.Stderr, "sent", sentBytes, "bytes")
	return nil
}

const (
	datagrams    = 40
	datagramSize = 1000
)

// collect answers when it has all the datagrams, each of the size it was cut to.
func collect(address string) error {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	b, whole := make([]byte, 1<<16), fill(datagrams*datagramSize)
	for i := range datagrams {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return fmt.Errorf("after %d datagrams: %w", i, err)
		}
		if !bytes.Equal(b[:n], whole[i*datagramSize:(i+1)*datagramSize]) {
			return fmt.Errorf("datagram %d: %d bytes, or others than were sent", i, n)
		}
		if i == datagrams-1 {
			_, err = c.WriteTo([]byte("all"), from)
			return err
		}
	}
	return nil
}

// segments sends many datagrams by one system call, as one frame.
func segments(address string) error {
	c, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	const udpSegment = 103
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_UDP, udpSegment, datagramSize)
	}); err != nil || failed != nil {
		return errors.Join(err, failed)
	}
	if _, err := c.Write(fill(datagrams * datagramSize)); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 8))
	return err
}
