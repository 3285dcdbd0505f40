// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// drain reads all events there are.
func (w *world) drain(r *ringbuf.Reader) (events []Event) {
	w.Helper()
	r.SetDeadline(time.Now())
	for {
		record, err := r.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return events
		}
		if err != nil {
			w.Fatal(err)
		}
		var e Event
		if err := binary.Read(bytes.NewReader(record.RawSample), binary.NativeEndian, &e); err != nil {
			w.Fatal(err)
		}
		events = append(events, e)
	}
}

func (w *world) reader() *ringbuf.Reader {
	w.Helper()
	r, err := ringbuf.NewReader(w.tc.Maps["events"])
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { r.Close() })
	w.drain(r)
	return r
}

// A drop is told of with where it was, whose it was, and its first bytes.
func TestDropEvents(t *testing.T) {
	w := newWorld(t)
	w.clearSamples()
	r := w.reader()
	short := eth(macNone, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 17}, udp(1, 2, fill(9))))
	long := eth(macNone, macA, 0x0800, ipv4(ip{src: ipA, dst: ipB, proto: 17}, udp(1, 2, fill(900))))
	for _, hook := range []string{"tc", "xdp"} {
		for _, in := range [][]byte{short, long} {
			w.run(hook, vector{name: "drop", in: in})
			events := w.drain(r)
			if len(events) != 1 {
				t.Fatalf("%s: got %d events, want 1", hook, len(events))
			}
			e, captured := events[0], min(len(in), 128)
			if e.Reason != TCReasonREASON_FDB_MISS || e.Line == 0 || e.Ifindex != lo || e.Endpoint != 1 || e.Vni != 100 {
				t.Errorf("%s: got reason %d, line %d, device %d, endpoint %d, VNI %d", hook, e.Reason, e.Line, e.Ifindex, e.Endpoint, e.Vni)
			}
			if int(e.Len) != len(in) || int(e.Captured) != captured || !bytes.Equal(e.Data[:captured], in[:captured]) {
				t.Errorf("%s: of %d bytes got %d: %x", hook, e.Len, e.Captured, e.Data)
			}
		}
	}
	w.run("tc", vector{name: "forward", in: to(macB)})
	if events := w.drain(r); len(events) != 0 {
		t.Errorf("a frame that was sent on: got %d events, want 0", len(events))
	}
}

func (w *world) clearSamples() {
	w.Helper()
	for reason := range uint32(ReasonSlots) {
		w.put("samples", reason, make([]TCSample, ebpf.MustPossibleCPU()))
	}
}

// Of many drops a few are told, each reason for itself; all are counted.
func TestDropEventsAreLimited(t *testing.T) {
	const drops, limit = 200, 3
	w := newWorld(t)
	w.clearSamples()
	c := settings()
	c.Events = limit
	w.configure(sender(), c)
	r := w.reader()
	for range drops {
		w.run("tc", vector{name: "drop", in: to(macNone)})
	}
	got := map[Reason]int{}
	w.run("tc", vector{name: "drop", in: to(macHole)})
	for _, e := range w.drain(r) {
		got[e.Reason]++
	}
	// The limit is of a CPU and a second; the run may see several of both.
	if n := got[TCReasonREASON_FDB_MISS]; n < limit || n >= drops/2 {
		t.Errorf("got %d events of %d drops, want about %d", n, drops, limit)
	}
	if n := got[TCReasonREASON_BLACKHOLE]; n != 1 {
		t.Errorf("got %d events of another reason, want 1", n)
	}
}
