// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	taskv2 "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestPidsWaitsForDelete: containerd is killed while it deletes a container, and
// the next one asks for its processes. With an answer it would adopt the container,
// and keep it in its list when it is gone.
func TestPidsWaitsForDelete(t *testing.T) {
	in := bootInstance(t)
	dir := bundle(t, "c")
	fifo := filepath.Join(dir, "fifo")
	must(t, syscall.Mkfifo(fifo, 0o600))
	addHooks(t, dir, &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "cat " + fifo}}}})
	first := taskv2.NewTTRPCTaskClient(in.client)
	_, err := first.Create(in.ctx, &taskv2.CreateTaskRequest{ID: "c", Bundle: dir})
	must(t, err)
	go func() { _, _ = first.Delete(in.ctx, &taskv2.DeleteRequest{ID: "c"}) }()
	hook, err := os.OpenFile(fifo, os.O_WRONLY, 0) // it is there
	must(t, err)
	defer hook.Close()
	in.client.Close()

	conn, err := net.Dial("unix", filepath.Join(in.root, "task.sock"))
	must(t, err)
	in.client = ttrpc.NewClient(conn)
	answer := make(chan error, 1)
	go func() {
		_, err := taskv2.NewTTRPCTaskClient(in.client).Pids(in.ctx, &taskv2.PidsRequest{ID: "c"})
		answer <- errgrpc.ToNative(err)
	}()
	select {
	case err := <-answer:
		t.Errorf("while it is being deleted: got %v", err)
		return
	case <-time.After(200 * time.Millisecond): // it does not answer
	}
	hook.Close()
	if err := <-answer; !errdefs.IsNotFound(err) {
		t.Errorf("when it is deleted: got %v, want not found", err)
	}
}

// addHooks gives the bundle of a test hooks.
func addHooks(t *testing.T, dir string, hooks *specs.Hooks) {
	t.Helper()
	config := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(config)
	must(t, err)
	var spec specs.Spec
	must(t, json.Unmarshal(data, &spec))
	spec.Hooks = hooks
	data, err = json.Marshal(&spec)
	must(t, err)
	must(t, os.WriteFile(config, data, 0o600))
}
