// SPDX-License-Identifier: Apache-2.0

// Command containerd-shim-noop-v1 is a shim that holds no container: a task is
// /bin/true as a plain child of one long-lived process. Through containerd it
// shows what containerd itself costs, the floor under every shim. It keeps no
// promise of the shim contract that a benchmark does not need.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func main() {
	var err error
	switch os.Args[len(os.Args)-1] {
	case "start":
		err = start()
	case "delete":
		err = print(&taskapi.DeleteResponse{Pid: 1, ExitedAt: timestamppb.Now()})
	default:
		err = serve(os.Args[len(os.Args)-1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "containerd-shim-noop-v1:", err)
		os.Exit(1)
	}
}

// start answers with the address of the one server, which it starts if need be.
// The first one is started by one caller alone: a benchmark warms up first.
func start() error {
	b, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var params bootapi.BootstrapParams
	if err := proto.Unmarshal(b, &params); err != nil {
		return err
	}
	socket := filepath.Join(params.GetSocketDir(), "noop")
	if !answers(socket) {
		cmd := exec.Command("/proc/self/exe", socket)
		cmd.Args[0] = os.Args[0] // so that a process list shows what it is
		cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		for deadline := time.Now().Add(10 * time.Second); !answers(socket); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				return fmt.Errorf("no answer on %s", socket)
			}
		}
	}
	result := &bootapi.BootstrapResult{Version: 3, Address: "unix://" + socket, Protocol: "ttrpc"}
	if err := result.AddExtension(&types.MountCapabilities{}); err != nil {
		return err
	}
	return print(result)
}

func answers(socket string) bool {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func print(m proto.Message) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(b)
	return err
}

func serve(socket string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	taskapi.RegisterTTRPCTaskService(server, &service{tasks: map[string]*task{}})
	return server.Serve(context.Background(), l)
}

// task is a child that is not contained.
type task struct {
	cmd  *exec.Cmd
	done chan struct{}
	at   time.Time // valid once done is closed
}

func (t *task) status() tasktypes.Status {
	if t.cmd.Process == nil {
		return tasktypes.Status_CREATED
	}
	select {
	case <-t.done:
		return tasktypes.Status_STOPPED
	default:
		return tasktypes.Status_RUNNING
	}
}

type service struct {
	taskapi.TTRPCTaskService // the calls that no benchmark makes
	mu                       sync.Mutex
	tasks                    map[string]*task
}

func (s *service) find(id string) (*task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks[id]; t != nil {
		return t, nil
	}
	return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "task %s", strings.ToValidUTF8(id, "?"))
}

func (s *service) Create(_ context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks[r.ID] = &task{cmd: exec.Command("/bin/true"), done: make(chan struct{})}
	return &taskapi.CreateTaskResponse{Pid: uint32(os.Getpid())}, nil
}

func (s *service) Start(_ context.Context, r *taskapi.StartRequest) (*taskapi.StartResponse, error) {
	t, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = t.cmd.Wait()
		t.at = time.Now()
		close(t.done)
	}()
	return &taskapi.StartResponse{Pid: uint32(t.cmd.Process.Pid)}, nil
}

func (s *service) Wait(_ context.Context, r *taskapi.WaitRequest) (*taskapi.WaitResponse, error) {
	t, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	<-t.done
	return &taskapi.WaitResponse{ExitedAt: timestamppb.New(t.at)}, nil
}

func (s *service) Delete(_ context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	t, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	delete(s.tasks, r.ID)
	s.mu.Unlock()
	return &taskapi.DeleteResponse{Pid: 1, ExitedAt: timestamppb.New(t.at)}, nil
}

func (s *service) State(_ context.Context, r *taskapi.StateRequest) (*taskapi.StateResponse, error) {
	t, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	return &taskapi.StateResponse{ID: r.ID, Pid: 1, Status: t.status()}, nil
}

func (s *service) Connect(context.Context, *taskapi.ConnectRequest) (*taskapi.ConnectResponse, error) {
	return &taskapi.ConnectResponse{ShimPid: uint32(os.Getpid())}, nil
}

func (s *service) Kill(context.Context, *taskapi.KillRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (s *service) Shutdown(context.Context, *taskapi.ShutdownRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}
