// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"foundry/datapath/veth"
)

const (
	probeBytes    = 512 << 10       // several of the largest segments
	probePort     = 4000            // of a namespace that nobody else is in
	probePatience = 5 * time.Second // for one connection
)

// transfer sends by TCP from one container to another and back, all of it at
// once so that it is cut up as late as may be. It has to arrive whole, and no
// segment with a wrong checksum.
func (p *prober) transfer(from, to *veth.NS, ip netip.Addr) error {
	ctx, cancel := context.WithTimeout(p.ctx, probePatience)
	defer cancel()
	echo, err := listen(ctx, to, netip.AddrPortFrom(ip, probePort))
	if err != nil {
		return err
	}
	err = from.Do(func() error { return converse(ctx, netip.AddrPortFrom(ip, probePort)) })
	return errors.Join(err, echo(), wrongSums(from), wrongSums(to))
}

// listen answers one connection with what it sends. end waits for it.
func listen(ctx context.Context, ns *veth.NS, at netip.AddrPort) (end func() error, err error) {
	var l *net.TCPListener
	if err := ns.Do(func() error { l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at)); return err }); err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	done := make(chan error, 1)
	go func() {
		defer l.Close()
		if err := l.SetDeadline(deadline); err != nil {
			done <- err
			return
		}
		c, err := l.Accept()
		if err != nil {
			done <- nil // who connects says so
			return
		}
		defer c.Close()
		if err = c.SetDeadline(deadline); err == nil {
			_, err = io.Copy(c, c)
		}
		done <- err
	}()
	return func() error { l.Close(); return <-done }, nil
}

// converse sends probeBytes, and compares what comes back.
func converse(ctx context.Context, to netip.AddrPort) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return fmt.Errorf("connect by TCP: %w", err)
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	sent := pattern(probeBytes)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		wrote <- err
	}()
	got := make([]byte, len(sent))
	n, err := io.ReadFull(c, got)
	if err != nil {
		c.Close()
		<-wrote
		return fmt.Errorf("send %d bytes by TCP: %d came back: %w", len(sent), n, err)
	}
	if err := <-wrote; err != nil {
		return fmt.Errorf("send by TCP: %w", err)
	}
	if !bytes.Equal(got, sent) {
		return fmt.Errorf("send %d bytes by TCP: others came back", len(sent))
	}
	return nil
}

// pattern repeats itself at no length that a segment has.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>16 ^ i>>8*7 ^ i)
	}
	return b
}

// wrongSums is an error when a namespace has received a segment with a wrong
// checksum.
func wrongSums(ns *veth.NS) error {
	return ns.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		var names []string
		for line := range strings.Lines(string(b)) {
			fields := strings.Fields(line)
			if len(fields) == 0 || fields[0] != "Tcp:" {
				continue
			}
			if names == nil {
				names = fields
				continue
			}
			for i, name := range names {
				if name == "InCsumErrors" && i < len(fields) && fields[i] != "0" {
					return fmt.Errorf("TCP segments with a wrong checksum arrived: %s", fields[i])
				}
			}
		}
		return nil
	})
}
