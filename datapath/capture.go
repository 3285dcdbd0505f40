// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"foundry/datapath/veth"
)

// Frame is a copy of a frame of an endpoint.
type Frame struct {
	Time time.Time
	From bool // the endpoint sent it; else it was sent to the endpoint
	Len  int  // of the frame, of which Data may be the beginning
	Data []byte
}

const (
	// captureBuffer is what the kernel keeps of frames that are not read yet.
	captureBuffer = 4 << 20
	// MaxSnaplen is more than a frame can have: many segments that are sent as one.
	MaxSnaplen = 256 << 10
)

// Capture copies the frames of a container's end of a pair. That is where all
// of them can be seen: between the ends they are redirected past the host's
// end (bpf_redirect_peer, XDP), and what the container sends is seen before a
// program drops it. Frames are as the container's stack has them: segments
// that are sent as one, checksums that are made later.
type Capture struct {
	file *os.File
	conn interface {
		Read(func(uintptr) bool) error
	}
	buf, oob []byte
}

// OpenCapture begins to copy the frames of the device at the other end of
// ifindex, which is in the namespace netns. Of each frame snaplen bytes are
// copied, 0 is MaxSnaplen. The caller closes it.
func OpenCapture(netns string, ifindex, snaplen int) (*Capture, error) {
	pair, err := veth.Find(ifindex)
	if err != nil {
		return nil, err
	}
	ns, err := veth.OpenNS(netns)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if snaplen <= 0 || snaplen > MaxSnaplen {
		snaplen = MaxSnaplen
	}
	c := &Capture{buf: make([]byte, snaplen), oob: make([]byte, 256)}
	if err := ns.Do(func() error { return c.open(pair.PeerIfindex) }); err != nil {
		return nil, err
	}
	return c, nil
}

// open makes the socket, in the namespace of its caller, where it stays.
func (c *Capture) open(ifindex int) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("open packet socket", err)
	}
	c.file = os.NewFile(uintptr(fd), "packet socket")
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, captureBuffer) // as much as there may be
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: ifindex}))
	if err == nil {
		c.conn, err = c.file.SyscallConn()
	}
	if err != nil {
		return errors.Join(os.NewSyscallError("bind packet socket", err), c.file.Close())
	}
	return nil
}

func bigEndian(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// Next waits for a frame.
func (c *Capture) Next(ctx context.Context) (f Frame, err error) {
	stop := context.AfterFunc(ctx, func() { _ = c.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var readErr error
	err = c.conn.Read(func(fd uintptr) bool {
		f, readErr = c.receive(int(fd))
		return !errors.Is(readErr, unix.EAGAIN)
	})
	if ctx.Err() != nil {
		return Frame{}, ctx.Err()
	}
	return f, errors.Join(err, readErr)
}

// Waiting returns a frame if there is one.
func (c *Capture) Waiting() (f Frame, ok bool) {
	err := c.conn.Read(func(fd uintptr) bool {
		var readErr error
		f, readErr = c.receive(int(fd))
		ok = readErr == nil
		return true
	})
	return f, ok && err == nil
}

func (c *Capture) receive(fd int) (Frame, error) {
	n, oobn, _, from, err := unix.Recvmsg(fd, c.buf, c.oob, unix.MSG_TRUNC)
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Time: time.Now(), Len: n, Data: append(make([]byte, 0, min(n, len(c.buf))+4), c.buf[:min(n, len(c.buf))]...)}
	if ll, ok := from.(*unix.SockaddrLinklayer); ok {
		f.From = ll.Pkttype == unix.PACKET_OUTGOING
	}
	messages, err := unix.ParseSocketControlMessage(c.oob[:oobn])
	if err != nil {
		return f, nil // a frame without its side notes is a frame
	}
	for _, m := range messages {
		f.note(m)
	}
	return f, nil
}

// note adds what the kernel says beside a frame: when it was, and the VLAN tag
// that it keeps outside of it.
func (f *Frame) note(m unix.SocketControlMessage) {
	switch {
	case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16: // struct timespec
		sec, nsec := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
		f.Time = time.Unix(int64(sec), int64(nsec))
	case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 20:
		// struct tpacket_auxdata: status, len, snaplen u32; mac, net, vlan_tci, vlan_tpid u16
		status := binary.NativeEndian.Uint32(m.Data)
		if status&unix.TP_STATUS_VLAN_VALID != 0 && len(f.Data) >= 12 {
			tag := binary.BigEndian.AppendUint16(nil, binary.NativeEndian.Uint16(m.Data[18:]))
			tag = binary.BigEndian.AppendUint16(tag, binary.NativeEndian.Uint16(m.Data[16:]))
			f.Data = append(f.Data[:12:12], append(tag, f.Data[12:]...)...)
			f.Len += len(tag)
		}
	}
}

// Lost returns how many frames came faster than they were read, since it was
// called last.
func (c *Capture) Lost() uint64 {
	var lost uint64
	_ = c.conn.Read(func(fd uintptr) bool {
		if stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			lost = uint64(stats.Drops)
		}
		return true
	})
	return lost
}

// Close ends the copying.
func (c *Capture) Close() error { return c.file.Close() }
