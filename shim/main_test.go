// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	events "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// TestMain fails when a test left a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leaked(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "goroutines left behind:\n"+left)
		code = 1
	}
	os.Exit(code)
}

// leaked returns the stacks of goroutines that do not end within a second.
func leaked() string {
	var left []string
	for end := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
		buf := make([]byte, 1<<20)
		left = left[:0]
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if !strings.Contains(g, "shim.TestMain(") && !strings.Contains(g, "os/signal.") {
				left = append(left, g)
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			return strings.Join(left, "\n\n")
		}
	}
}

// sink is containerd's event service.
type sink struct {
	path   string
	server *ttrpc.Server
	door   *door
	refuse func(*types.Envelope) error

	mu   sync.Mutex
	got  []*types.Envelope
	more *sync.Cond
}

// newSink returns a sink that does not listen yet.
func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{path: filepath.Join(t.TempDir(), "ttrpc.sock"), refuse: func(*types.Envelope) error { return nil }}
	s.more = sync.NewCond(&s.mu)
	t.Cleanup(s.stop)
	return s
}

func (s *sink) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	if s.server, err = ttrpc.NewServer(); err != nil {
		t.Fatal(err)
	}
	s.door = &door{sink: s, open: true}
	events.RegisterTTRPCEventsService(s.server, s.door)
	go s.server.Serve(context.Background(), l)
}

func (s *sink) stop() {
	if s.server == nil {
		return
	}
	s.mu.Lock()
	s.door.open = false
	s.mu.Unlock()
	s.server.Close()
	s.server = nil
}

// door is a sink between a start and a stop. A server that is closed goes on with
// the calls that it has read; what it took then would come once more, because its
// answer is lost.
type door struct {
	*sink
	open bool // guarded by sink.mu
}

func (s *door) Forward(_ context.Context, r *events.ForwardRequest) (*emptypb.Empty, error) {
	if err := s.refuse(r.Envelope); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return nil, status.Error(codes.Unavailable, "closed")
	}
	s.got = append(s.got, r.Envelope)
	s.more.Broadcast()
	return &emptypb.Empty{}, nil
}

// wait returns the first n events, which it waits for.
func (s *sink) wait(n int) []*types.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.got) < n {
		s.more.Wait()
	}
	return s.got[:n:n]
}
