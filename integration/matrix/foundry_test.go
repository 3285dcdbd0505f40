// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"foundry/integration/env"
)

// foundry is a server with no containerd: the test starts it by the launcher,
// as containerd would, and takes its events.
type foundry struct {
	tasks taskapi.TTRPCTaskService
	root  string // FOUNDRY_ROOT
}

func startFoundry(t *testing.T, h *hall) *foundry {
	t.Helper()
	f := &foundry{root: filepath.Join(h.dir, "f")}
	address := filepath.Join(h.dir, "c.sock")
	takeEvents(t, address+".ttrpc")
	socketDir := filepath.Join(h.dir, "s")
	params, err := proto.Marshal(&bootapi.BootstrapParams{InstanceID: "first", Namespace: h.name, ContainerdGrpcAddress: address,
		ContainerdTtrpcAddress: address + ".ttrpc", ContainerdBinary: "/bin/true", SocketDir: &socketDir})
	must(t, err)
	cmd := exec.Command(env.Bin(t)+"/containerd-shim-foundry-v1", "-namespace", h.name, "-address", address, "-id", "first", "start")
	cmd.Dir, cmd.Stdin = t.TempDir(), bytes.NewReader(params)
	cmd.Env = append(os.Environ(), "FOUNDRY_ROOT="+f.root, "TTRPC_ADDRESS="+address+".ttrpc")
	t.Cleanup(func() { f.stop(t) })
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("start Foundry: %v: %s", err, out)
	}
	var answer bootapi.BootstrapResult
	must(t, proto.Unmarshal(out, &answer))
	conn, err := net.Dial("unix", strings.TrimPrefix(answer.Address, "unix://"))
	must(t, err)
	client := ttrpc.NewClient(conn)
	t.Cleanup(func() { client.Close() })
	f.tasks = taskapi.NewTTRPCTaskClient(client)
	return f
}

// takeEvents is the part of containerd that takes events.
func takeEvents(t *testing.T, path string) {
	t.Helper()
	server, err := ttrpc.NewServer()
	must(t, err)
	server.RegisterService("containerd.services.events.ttrpc.v1.Events", &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
		"Forward": func(_ context.Context, read func(any) error) (any, error) {
			return &emptypb.Empty{}, read(&emptypb.Empty{})
		},
	}})
	l, err := net.Listen("unix", path)
	must(t, err)
	go func() { _ = server.Serve(context.Background(), l) }()
	t.Cleanup(func() { server.Close() })
}

// stop ends the server and its spawner, which has no children by then.
func (f *foundry) stop(t *testing.T) {
	for _, key := range []string{"server", "spawner"} {
		for _, s := range env.ServersBelow(f.root) {
			pid := map[string]int{"server": s.Pid, "spawner": s.Spawner}[key]
			if pid <= 1 {
				continue
			}
			_ = syscall.Kill(pid, syscall.SIGTERM)
			deadline := time.Now().Add(10 * time.Second * env.Slowness())
			for env.Alive(pid) && time.Now().Before(deadline) {
				time.Sleep(5 * time.Millisecond)
			}
			if env.Alive(pid) {
				t.Errorf("%s %d does not end", key, pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	if t.Failed() {
		logs, _ := filepath.Glob(f.root + "/*/log")
		for _, log := range logs {
			b, _ := os.ReadFile(log)
			t.Logf("%s ends:\n%s", log, b[max(0, len(b)-4<<10):])
		}
	}
}

// byFoundry is the life of a task, and of a process in it when the row has one.
func byFoundry(x *run) (result, error) {
	ctx, cancel := limit()
	defer cancel()
	ctx = namespaces.WithNamespace(ctx, x.name)
	log := filepath.Join(x.dir, "output")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		return result{}, err
	}
	status, err := x.foundry.life(ctx, x, "file://"+log)
	if err != nil {
		return result{failed: err.Error()}, ctx.Err()
	}
	b, err := os.ReadFile(log)
	if err != nil || !ended(string(b)) {
		return result{failed: fmt.Sprintf("no end of the output: %s", b)}, err
	}
	return result{lines: append(x.normaliser().text(string(b)), fmt.Sprintf("status %d", status))}, nil
}

// life makes a task and deletes it; the status is that of the probe.
func (f *foundry) life(ctx context.Context, x *run, output string) (status uint32, err error) {
	create := &taskapi.CreateTaskRequest{ID: x.id, Bundle: x.dir}
	if x.row.exec == nil {
		create.Stdout, create.Stderr, create.Terminal = x.streams(output)
	}
	if _, err := f.tasks.Create(ctx, create); err != nil {
		return 0, err
	}
	defer func() {
		r, derr := f.tasks.Delete(ctx, &taskapi.DeleteRequest{ID: x.id})
		if err = errors.Join(err, derr); x.row.exec == nil {
			status = r.GetExitStatus()
		}
	}()
	if x.row.exec == nil {
		return 0, f.toEnd(ctx, x, "")
	}
	defer f.end(ctx, x)
	if _, err := f.tasks.Start(ctx, &taskapi.StartRequest{ID: x.id}); err != nil {
		return 0, err
	}
	return f.exec(ctx, x, output)
}

// streams are the outputs of the probe.
func (x *run) streams(output string) (stdout, stderr string, terminal bool) {
	if x.row.console != nil {
		return output, "", true
	}
	return output, output, false
}

// exec runs the row's process in its task.
func (f *foundry) exec(ctx context.Context, x *run, output string) (uint32, error) {
	process, err := os.ReadFile(x.process())
	if err != nil {
		return 0, err
	}
	r := &taskapi.ExecProcessRequest{ID: x.id, ExecID: "probe",
		Spec: &anypb.Any{TypeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Process", Value: process}}
	r.Stdout, r.Stderr, r.Terminal = x.streams(output)
	if _, err := f.tasks.Exec(ctx, r); err != nil {
		return 0, err
	}
	err = f.toEnd(ctx, x, "probe")
	d, derr := f.tasks.Delete(ctx, &taskapi.DeleteRequest{ID: x.id, ExecID: "probe"})
	return d.GetExitStatus(), errors.Join(err, derr)
}

// toEnd starts a process and waits for its end. One that does not start is
// ended.
func (f *foundry) toEnd(ctx context.Context, x *run, exec string) error {
	_, err := f.tasks.Start(ctx, &taskapi.StartRequest{ID: x.id, ExecID: exec})
	if err != nil {
		if exec == "" {
			f.end(ctx, x)
		}
		return err
	}
	_, err = f.tasks.Wait(ctx, &taskapi.WaitRequest{ID: x.id, ExecID: exec})
	return err
}

// end kills the task.
func (f *foundry) end(ctx context.Context, x *run) {
	_, _ = f.tasks.Kill(ctx, &taskapi.KillRequest{ID: x.id, Signal: uint32(syscall.SIGKILL)})
	_, _ = f.tasks.Wait(ctx, &taskapi.WaitRequest{ID: x.id})
}
