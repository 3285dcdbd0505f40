// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/spf13/cobra"

	"foundry/datapath/agent/api"
)

func (a *app) capture() *cobra.Command {
	req := &api.CaptureRequest{}
	var file string
	var count int
	cmd := &cobra.Command{
		Use: "capture ENDPOINT", Short: "Copy the frames of an endpoint, to look at or into a file",
		Long: "Copy the frames of an endpoint as its own device has them, both ways, until interrupted. Those that it sent and\n" +
			"that were dropped come once more, with the reason: in a file as the comment of a packet of a second interface.\n\n" +
			"The file is pcap-ng, for tcpdump -r and Wireshark. Segments that are sent as one, and checksums that are made\n" +
			"later, are as in any capture on the host that sends.",
		Example: "  foundry capture web\n  foundry capture web -w web.pcapng -c 1000\n  foundry capture web -w - | tcpdump -r -",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeEndpoints,
		RunE: a.following(func(ctx context.Context, g *agent, args []string) (err error) {
			req.Endpoint = args[0]
			to, done, err := a.sink(req, file)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, done()) }()
			return a.copyFrames(ctx, g, req, &enough{to, count})
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&file, "write", "w", "", "write frames to this file, - is stdout, instead of a line for each")
	f.IntVarP(&count, "count", "c", 0, "end after so many frames")
	f.Uint32Var(&req.Snaplen, "snaplen", 0, "only the first bytes of a frame; 0 is all")
	f.BoolVar(&req.NoDrops, "no-drops", false, "without the drops")
	return cmd
}

// sink takes frames; loss is how many are missing before this one.
type sink interface {
	frame(f *api.Frame, loss uint64) error
	flush() error // what was taken is where it belongs
}

// errEnough ends a capture that has what it was to have.
var errEnough = errors.New("enough")

// enough ends it after left frames.
type enough struct {
	sink
	left int // 0: never
}

func (e *enough) frame(f *api.Frame, loss uint64) error {
	if err := e.sink.frame(f, loss); err != nil {
		return err
	}
	if e.left--; e.left == 0 {
		return errEnough
	}
	return nil
}

// sink opens what frames are written to. done is called at the end.
func (a *app) sink(req *api.CaptureRequest, file string) (to sink, done func() error, err error) {
	out, done := a.out, func() error { return nil }
	switch file {
	case "":
		return printer{a.out}, done, nil
	case "-":
		if f, ok := a.out.(*os.File); ok && isTerminal(f) {
			return nil, nil, errors.New("write capture: stdout is a terminal (name a file, or leave out --write)")
		}
	default:
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("write capture: %w", err)
		}
		out, done = f, f.Close
	}
	w, err := newPcap(out, req)
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return w, done, nil
}

func (a *app) copyFrames(ctx context.Context, g *agent, req *api.CaptureRequest, to sink) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	stream, err := g.Capture(ctx, req)
	if err != nil {
		return err
	}
	var loss, lost uint64
	for err == nil {
		var part *api.CaptureResponse
		if part, err = stream.Recv(); err != nil {
			break
		}
		lost, loss = lost+part.GetLost(), loss+part.GetLost()
		for _, f := range part.GetFrames() {
			if err = to.frame(f, loss); err != nil {
				break
			}
			loss = 0
		}
		if flushErr := to.flush(); flushErr != nil {
			err = flushErr
		}
	}
	if lost > 0 {
		a.missing(lost, "frames")
	}
	if ctx.Err() != nil || errors.Is(err, errEnough) || errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// printer writes a line for each frame.
type printer struct{ out io.Writer }

func (printer) flush() error { return nil }

func (p printer) frame(f *api.Frame, _ uint64) error {
	way, text := "to  ", frameText(f.GetData(), f.GetLength())
	if f.GetDirection() == api.Frame_DIRECTION_FROM {
		way = "from"
	}
	if d := f.GetDrop(); d != nil {
		way, text = "drop", d.GetReason()+": "+text
	}
	if _, err := fmt.Fprintf(p.out, "%s  %s  %s\n", f.GetTime().AsTime().Local().Format("15:04:05.000000"), way, plain(text)); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// pcap writes frames in pcap-ng: what the endpoint's device has seen on the
// first interface, what was dropped on the second.
type pcap struct{ w *pcapgo.NgWriter }

func newPcap(to io.Writer, req *api.CaptureRequest) (*pcap, error) {
	device := pcapgo.NgInterface{Name: req.GetEndpoint(), LinkType: layers.LinkTypeEthernet, TimestampResolution: 9, SnapLength: req.GetSnaplen()}
	w, err := pcapgo.NewNgWriterInterface(to, device, pcapgo.NgWriterOptions{
		SectionInfo: pcapgo.NgSectionInfo{Application: "foundry", OS: runtime.GOOS, Hardware: runtime.GOARCH},
	})
	if err == nil && !req.GetNoDrops() {
		device.Name, device.Comment = req.GetEndpoint()+"-drops", "frames that were dropped, the reason of each in its comment"
		_, err = w.AddInterface(device)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("write capture: %w", err)
	}
	return &pcap{w}, nil
}

func (p *pcap) frame(f *api.Frame, loss uint64) error {
	info := gopacket.CaptureInfo{Timestamp: f.GetTime().AsTime(), CaptureLength: len(f.GetData()), Length: max(int(f.GetLength()), len(f.GetData()))}
	if info.Timestamp.IsZero() {
		info.Timestamp = time.Now()
	}
	way := pcapgo.NgEpbFlagDirectionInbound
	if f.GetDirection() == api.Frame_DIRECTION_FROM {
		way = pcapgo.NgEpbFlagDirectionOutbound
	}
	options := pcapgo.NgPacketOptions{Flags: &pcapgo.NgEpbFlags{Direction: way}}
	if loss > 0 {
		options.DropCount = &loss
	}
	if d := f.GetDrop(); d != nil {
		info.InterfaceIndex = 1
		options.Comments = []string{"dropped: " + d.GetReason()}
	}
	if err := p.w.WritePacketWithOptions(info, f.GetData(), options); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}

func (p *pcap) flush() error {
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}
