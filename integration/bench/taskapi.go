// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
)

// TaskAPI drives a shim with no containerd between, as containerd would.
type TaskAPI struct {
	Shim      string // the program, e.g. bin/containerd-shim-foundry-v1
	Rootfs    string // a directory with /bin/true, mounted nowhere
	Bundles   string // directory for the bundles
	Address   string // of a containerd that takes the events
	Namespace string
	SocketDir string
	Env       []string
}

// Lives runs n containers of /bin/true one after the other, each after a pause
// of gap, and returns what the calls took. The program's own start is not among
// them: "boot" has it.
func (a TaskAPI) Lives(ctx context.Context, n int, gap time.Duration) (Series, error) {
	all := Series{}
	for range n {
		time.Sleep(gap)
		one, err := a.life(namespaces.WithNamespace(ctx, a.Namespace))
		if err != nil {
			return nil, fmt.Errorf("life at the task API of %s: %w", filepath.Base(a.Shim), err)
		}
		all.Add(one)
	}
	return all, nil
}

func (a TaskAPI) life(ctx context.Context) (Series, error) {
	id := "task-" + strings.ToLower(rand.Text())
	bundle := filepath.Join(a.Bundles, id)
	if err := a.bundle(ctx, id, bundle); err != nil {
		return nil, err
	}
	defer os.RemoveAll(bundle)
	log, err := logFifo(bundle)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	begin := time.Now()
	conn, err := a.boot(ctx, id, bundle)
	if err != nil {
		return nil, err
	}
	boot := time.Since(begin)
	c := ttrpc.NewClient(conn)
	defer c.Close()
	shim := taskapi.NewTTRPCTaskClient(c)
	w := stopwatch{last: time.Now(), series: Series{"boot": {boot}}}
	if _, err := shim.Create(ctx, &taskapi.CreateTaskRequest{ID: id, Bundle: bundle}); err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	w.lap("create")
	if _, err := shim.Start(ctx, &taskapi.StartRequest{ID: id}); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	w.lap("start")
	if r, err := shim.Wait(ctx, &taskapi.WaitRequest{ID: id}); err != nil || r.ExitStatus != 0 {
		return nil, fmt.Errorf("wait: status %d, %w", r.GetExitStatus(), err)
	}
	w.lap("exit")
	if _, err := shim.Delete(ctx, &taskapi.DeleteRequest{ID: id}); err != nil {
		return nil, fmt.Errorf("delete: %w", err)
	}
	w.lap("delete")
	// The runc shim ends with its last task, and the connection with it.
	_, _ = shim.Shutdown(ctx, &taskapi.ShutdownRequest{ID: id})
	return w.total(), nil
}

// bundle writes what containerd would, with ctr's default spec.
func (a TaskAPI) bundle(ctx context.Context, id, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o700); err != nil {
		return err
	}
	spec, err := oci.GenerateSpec(ctx, nil, &containers.Container{ID: id}, oci.WithDefaultUnixDevices,
		oci.WithProcessArgs("/bin/true"), oci.WithRootFSPath(a.Rootfs))
	if err != nil {
		return fmt.Errorf("make spec: %w", err)
	}
	spec.Process.Rlimits, spec.Process.OOMScoreAdj = nil, nil
	b, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600)
}

// logFifo makes the fifo that containerd reads a shim's log from; runc's shim
// does not start without a reader.
func logFifo(bundle string) (*os.File, error) {
	path := filepath.Join(bundle, "log")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	return os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
}

// boot executes the shim's `start` and connects to what it answers.
func (a TaskAPI) boot(ctx context.Context, id, bundle string) (net.Conn, error) {
	params, err := proto.Marshal(&bootapi.BootstrapParams{InstanceID: id, Namespace: a.Namespace, ContainerdGrpcAddress: a.Address,
		ContainerdTtrpcAddress: a.Address + ".ttrpc", ContainerdBinary: "/bin/true", SocketDir: &a.SocketDir})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, a.Shim, "-namespace", a.Namespace, "-address", a.Address, "-publish-binary", "/bin/true", "-id", id, "start")
	cmd.Dir, cmd.Stdin = bundle, bytes.NewReader(params)
	cmd.Env = append(os.Environ(), append([]string{"TTRPC_ADDRESS=" + a.Address + ".ttrpc", "GRPC_ADDRESS=" + a.Address,
		"NAMESPACE=" + a.Namespace, "GOMAXPROCS=2", "MAX_SHIM_VERSION=2"}, a.Env...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("boot: %w: %s", err, out)
	}
	var answer bootapi.BootstrapResult
	if err := proto.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("boot: answer %q: %w", out, err)
	}
	return net.Dial("unix", strings.TrimPrefix(answer.Address, "unix://"))
}
