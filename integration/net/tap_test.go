// SPDX-License-Identifier: Apache-2.0

package net

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"foundry/datapath"
	"foundry/datapath/veth"
)

// tap is a socket that sends frames as they are, and sees all that come; or
// those that go, too.
type tap struct {
	f      *fabric
	name   string
	fd     int
	device int
	last   int // device of the frame that came last
}

// tap looks at a container's eth0.
func (c *container) tap() *tap { return c.h.f.tap(c.ns, "eth0", c.String()) }

func (f *fabric) tap(ns *veth.NS, device, name string) *tap {
	f.Helper()
	return f.tapOn(ns, deviceIndex(f, ns, device), name)
}

// tapOn looks at a device, or at all of a namespace: 0.
func (f *fabric) tapOn(ns *veth.NS, device int, name string) *tap {
	f.Helper()
	t := &tap{f: f, name: name, device: device}
	err := ns.Do(func() (err error) {
		if t.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(bigEndian(unix.ETH_P_ALL))); err != nil {
			return err
		}
		return unix.Bind(t.fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: t.device})
	})
	if err != nil {
		f.Fatalf("tap %s: %v", name, err)
	}
	f.Cleanup(func() { unix.Close(t.fd) })
	t.must("enlarge buffer", unix.SetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20))
	t.must("see what comes only", unix.SetsockoptInt(t.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	return t
}

func deviceIndex(f *fabric, ns *veth.NS, name string) int { return device(f.T, ns, name).Index }

func bigEndian(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

func (t *tap) must(what string, err error) {
	t.f.Helper()
	if err != nil {
		t.f.Fatalf("%s: %s: %v", t.name, what, err)
	}
}

// outgoing lets the tap see what goes.
func (t *tap) outgoing() *tap {
	t.f.Helper()
	t.must("see what goes", unix.SetsockoptInt(t.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 0))
	return t
}

func (t *tap) send(frames ...[]byte) {
	t.f.Helper()
	for _, b := range frames {
		t.must("send", unix.Send(t.fd, b, 0))
	}
}

// next is the next frame, or nil when there is none for so long.
func (t *tap) next(wait time.Duration) []byte {
	t.f.Helper()
	fds := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(wait.Milliseconds()))
	for err == unix.EINTR {
		n, err = unix.Poll(fds, int(wait.Milliseconds()))
	}
	t.must("wait", err)
	if n == 0 {
		return nil
	}
	b := make([]byte, 1<<17)
	n, from, err := unix.Recvfrom(t.fd, b, 0)
	t.must("receive", err)
	t.last = from.(*unix.SockaddrLinklayer).Ifindex
	return b[:n]
}

// sendOn sends a frame by one device of those that it looks at.
func (t *tap) sendOn(device int, b []byte) {
	t.f.Helper()
	t.must("send", unix.Sendto(t.fd, b, 0, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: device}))
}

// until reads frames to the one with a mark, which must come, and then what
// else is there already.
func (t *tap) until(mark string) (frames [][]byte) {
	t.f.Helper()
	for seen := false; ; {
		wait := patience
		if seen {
			wait = 0
		}
		b := t.next(wait)
		if b == nil {
			if !seen {
				t.f.Errorf("%s: nothing came with %q", t.name, mark)
			}
			return frames
		}
		seen = seen || bytes.Contains(b, []byte(mark))
		frames = append(frames, b)
	}
}

// carrying counts the frames with a mark.
func carrying(frames [][]byte, mark string) (n int) {
	for _, b := range frames {
		if bytes.Contains(b, []byte(mark)) {
			n++
		}
	}
	return n
}

// frame makes one of its layers, with lengths and checksums.
func frame(parts ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		panic(fmt.Sprintf("a frame of the test cannot be made: %v", err))
	}
	return bytes.Clone(b.Bytes())
}

func ethernet(from, to datapath.MAC, kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: net.HardwareAddr(from[:]), DstMAC: net.HardwareAddr(to[:]), EthernetType: kind}
}

// all is everybody's MAC.
func all() datapath.MAC { return datapath.MAC{255, 255, 255, 255, 255, 255} }

// datagram is a frame of UDP with a mark in it.
func datagram(from, to *container, mark string) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.ip4.AsSlice(), DstIP: to.ip4.AsSlice()}
	return frame(ethernet(from.mac, to.mac, layers.EthernetTypeIPv4), ip, udp(ip, 40000, 40000), gopacket.Payload(mark))
}

// datagram6 is the same by IPv6.
func datagram6(from, to *container, mark string) []byte {
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: from.ip6.AsSlice(), DstIP: to.ip6.AsSlice()}
	return frame(ethernet(from.mac, to.mac, layers.EthernetTypeIPv6), ip, udp(ip, 40000, 40000), gopacket.Payload(mark))
}

// toAll is a frame for everybody with a mark in it.
func toAll(from *container, mark string) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.ip4.AsSlice(), DstIP: net.IPv4bcast}
	return frame(ethernet(from.mac, all(), layers.EthernetTypeIPv4), ip, udp(ip, 40000, 40000), gopacket.Payload(mark))
}

func udp(ip gopacket.NetworkLayer, from, to layers.UDPPort) *layers.UDP {
	u := &layers.UDP{SrcPort: from, DstPort: to}
	if err := u.SetNetworkLayerForChecksum(ip); err != nil {
		panic(err)
	}
	return u
}
