// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	taskv2 "github.com/containerd/containerd/api/runtime/task/v2"
	taskv3 "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"foundry/runtime"
)

// dial serves register's services and returns a client and the context of a
// namespace.
func dial(t *testing.T, register func(*ttrpc.Server)) (*ttrpc.Client, context.Context) {
	t.Helper()
	l, err := Listen(filepath.Join(t.TempDir(), "task.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := ttrpc.NewServer(ttrpc.WithServerHandshaker(ttrpc.UnixSocketRequireSameUser()))
	if err != nil {
		t.Fatal(err)
	}
	register(server)
	go server.Serve(context.Background(), NewListener(l))
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := ttrpc.NewClient(conn)
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, ttrpc.WithMetadata(t.Context(), ttrpc.MD{"containerd-namespace-ttrpc": {"ns"}})
}

func newTestService() *Service {
	return New(Config{Publisher: NewPublisher(PublisherConfig{Address: "/nonexistent"})})
}

// TestErrorRoundTrip: an error keeps its kind and its text on the way to
// containerd.
func TestErrorRoundTrip(t *testing.T) {
	finished := &TransitionError{Verb: Kill, From: Stopped}
	for _, test := range []struct {
		err  error
		is   func(error) bool
		text string
	}{
		{fmt.Errorf("%q: %w", "c", errNoContainer), errdefs.IsNotFound, `"c": container not created`},
		{finished, errdefs.IsNotFound, "process already finished"},
		{errFinished, errdefs.IsNotFound, "process already finished"},
		{&TransitionError{Exec: "e"}, errdefs.IsNotFound, `process "e" does not exist`},
		{&TransitionError{Verb: Add, Exec: "e", From: Running}, errdefs.IsAlreadyExists, `exec "e" already exists`},
		{&TransitionError{Verb: Delete, From: Running}, errdefs.IsFailedPrecondition, "cannot delete a running process"},
		{&TransitionError{Verb: Delete, From: Paused}, errdefs.IsFailedPrecondition, "cannot delete a paused process"},
		{&TransitionError{Verb: Start, From: Running}, errdefs.IsFailedPrecondition, "cannot start a running process"},
		{&TransitionError{Verb: Add, Exec: "e", From: Stopped, Container: true}, errdefs.IsFailedPrecondition, "cannot exec in a stopped container"},
		{fmt.Errorf("create %q: %w", "c", errTaken), errdefs.IsAlreadyExists, `create "c": container already exists`},
		{fmt.Errorf("create %q: %w", "c", runtime.ErrExists), errdefs.IsAlreadyExists, `create "c": already exists`},
		{badRequest("no id"), errdefs.IsInvalidArgument, "invalid request: no id"},
		{runtime.ErrUnsupported, errdefs.IsNotImplemented, "not supported"},
		{runtime.ErrPaused, errdefs.IsFailedPrecondition, "paused"},
		{runtime.ErrSpawner, errdefs.IsUnavailable, "the spawner is gone"},
		{errQuota, errdefs.IsResourceExhausted, "quota reached"},
		{errNotBuilt, errdefs.IsNotImplemented, "not implemented"},
		{overdue("Start", time.Second, context.DeadlineExceeded), errdefs.IsDeadlineExceeded, "Start: no result within 1s: context deadline exceeded"},
		{errors.New("create \"c\": mount proc on /proc: EPERM"), errdefs.IsUnknown, "create \"c\": mount proc on /proc: EPERM"},
	} {
		s := newTestService()
		client, ctx := dial(t, func(server *ttrpc.Server) {
			server.RegisterService(taskV3, &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
				"State": method(s, "State", func(context.Context, *taskv2.StateRequest) (*taskv2.StateResponse, error) {
					return nil, test.err
				}),
			}})
		})
		_, err := taskv3.NewTTRPCTaskClient(client).State(ctx, &taskv3.StateRequest{ID: "c"})
		native := errgrpc.ToNative(err)
		if !test.is(native) {
			t.Errorf("%v: arrives as %T %v", test.err, native, native)
		}
		if !strings.HasPrefix(native.Error(), test.text) {
			t.Errorf("got %q, want %q", native, test.text)
		}
	}
}

// TestEveryCallAnswers walks all calls of both services for an id that nobody
// knows: none is Unimplemented by accident and none is Unknown.
func TestEveryCallAnswers(t *testing.T) {
	want := map[string]func(error) bool{
		"Connect":  func(err error) bool { return err == nil },
		"Shutdown": func(err error) bool { return err == nil },
		"Create":   errdefs.IsInvalidArgument, // the options below
	}
	s := newTestService()
	client, ctx := dial(t, s.Register)
	for name, file := range map[string]protoreflect.FileDescriptor{
		taskV2: taskv2.File_runtime_task_v2_shim_proto, taskV3: taskv3.File_runtime_task_v3_shim_proto,
	} {
		methods := file.Services().Get(0).Methods()
		if string(file.Services().Get(0).FullName()) != name || methods.Len() != 17 {
			t.Fatalf("%s: %d methods", name, methods.Len())
		}
		for i := range methods.Len() {
			method := string(methods.Get(i).Name())
			err := errgrpc.ToNative(client.Call(ctx, name, method, requestFor(method), &taskv2.StateResponse{}))
			is := want[method]
			if is == nil {
				is = errdefs.IsNotFound
			}
			if !is(err) {
				t.Errorf("%s/%s: %v", name, method, err)
			}
		}
	}
}

func requestFor(method string) proto.Message {
	if method == "Create" {
		return &taskv2.CreateTaskRequest{ID: "c", Options: mustBare(&taskv2.StateRequest{})}
	}
	return &taskv2.StateRequest{ID: "c"} // the id is the first field of all of them
}

// TestNamespaceRequired: without one no container can be named.
func TestNamespaceRequired(t *testing.T) {
	s := newTestService()
	client, _ := dial(t, s.Register)
	_, err := taskv2.NewTTRPCTaskClient(client).State(t.Context(), &taskv2.StateRequest{ID: "c"})
	if !errdefs.IsInvalidArgument(errgrpc.ToNative(err)) {
		t.Errorf("got %v", err)
	}
}

// TestServicesAreTheSame is why one table of methods serves both versions.
func TestServicesAreTheSame(t *testing.T) {
	v2, v3 := taskv2.File_runtime_task_v2_shim_proto, taskv3.File_runtime_task_v3_shim_proto
	for i := range v3.Messages().Len() {
		m3 := v3.Messages().Get(i)
		m2 := v2.Messages().ByName(m3.Name())
		if m2 == nil || m2.Fields().Len() != m3.Fields().Len() {
			t.Errorf("%s differs", m3.Name())
			continue
		}
		for j := range m3.Fields().Len() {
			f3 := m3.Fields().Get(j)
			f2 := m2.Fields().ByNumber(f3.Number())
			if f2 == nil || f2.Kind() != f3.Kind() || f2.Cardinality() != f3.Cardinality() || f2.Name() != f3.Name() {
				t.Errorf("%s differs", f3.FullName())
			}
		}
	}
	s := newTestService()
	for i := range v3.Services().Get(0).Methods().Len() {
		name := string(v3.Services().Get(0).Methods().Get(i).Name())
		if _, ok := bounds[name]; !ok || s.methods()[name] == nil {
			t.Errorf("%s has no bound or no method", name)
		}
	}
}

// TestPanicFailsOneCall: the next call is served.
func TestPanicFailsOneCall(t *testing.T) {
	s := newTestService()
	client, ctx := dial(t, func(server *ttrpc.Server) {
		server.RegisterService(taskV2, &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
			"Start":   method(s, "Start", func(context.Context, *taskv2.StartRequest) (*taskv2.StartResponse, error) { panic("boo") }),
			"Connect": method(s, "Connect", s.Connect),
		}})
	})
	c := taskv2.NewTTRPCTaskClient(client)
	if _, err := c.Start(ctx, &taskv2.StartRequest{}); !errdefs.IsInternal(errgrpc.ToNative(err)) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Connect(ctx, &taskv2.ConnectRequest{}); err != nil {
		t.Error(err)
	}
}

// TestBounded: a handler that heeds its context says itself what it hung at;
// one that hangs in the kernel is not waited for.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := call[int]{name: "X", bound: bound{limit: time.Minute}, log: slog.New(slog.DiscardHandler)}
		c.run = func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, fmt.Errorf("freeze: %w", ctx.Err())
		}
		begin := time.Now()
		if _, err := bounded(t.Context(), c); err == nil || !strings.HasPrefix(err.Error(), "freeze: ") {
			t.Errorf("got %v", err)
		}
		if d := time.Since(begin); d != time.Minute {
			t.Errorf("took %v", d)
		}
		kernel := make(chan struct{})
		c.run = func(context.Context) (int, error) { <-kernel; return 0, nil }
		if _, err := bounded(t.Context(), c); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(kernel)
	})
}

// TestDetached: what was begun is finished when the caller goes away, unless
// it is a Create.
func TestDetached(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	run := func(ctx context.Context) (bool, error) { return ctx.Err() != nil, nil }
	for name, want := range map[string]bool{"Create": true, "Delete": false, "Start": false, "Kill": false} {
		got, err := bounded(ctx, call[bool]{name: name, bound: bounds[name], run: run})
		if got != want || err != nil {
			t.Errorf("%s of a caller that has gone: cancelled is %t, want %t (%v)", name, got, want, err)
		}
	}
}
