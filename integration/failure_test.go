// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"

	"strings"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

// failing is a container, or an exec in a good one, that cannot be.
type failing struct {
	name string
	id   string // default: a fresh one
	spec func(*specs.Spec)
	exec func(*specs.Process) // when it is the exec
	io   cio.Creator
	says string // what the error must name
}

func failures(dir string) []failing {
	hook := func(script string) []specs.Hook {
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}}}
	}
	return []failing{
		{name: "NoProgram", spec: func(s *specs.Spec) { s.Process.Args = []string{"/no/such"} }, says: "/no/such"},
		{name: "NoPermission", spec: func(s *specs.Spec) { s.Process.Args = []string{"/etc/passwd"} }, says: "permission denied"},
		{name: "NoDirectory", spec: func(s *specs.Spec) { s.Process.Cwd = "/etc/passwd" }, says: "/etc/passwd"},
		{name: "NoMountSource", spec: func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Type: "bind", Source: dir + "/nothing", Destination: "/x", Options: []string{"bind"}})
		}, says: "nothing"},
		{name: "NoFilesystem", spec: func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Type: "nosuchfs", Source: "none", Destination: "/x"})
		}, says: "nosuchfs"},
		{name: "NoNamespace", spec: func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces[:0:0], specs.LinuxNamespace{Type: specs.MountNamespace},
				specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: dir + "/netns"})
		}, says: "netns"},
		{name: "Refused", spec: func(s *specs.Spec) {
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1}}
		}, says: "linux.timeOffsets"},
		{name: "BadSysctl", spec: func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.no.such": "1"} }, says: "net/no/such"},
		{name: "BadLimit", spec: func(s *specs.Spec) {
			s.Linux.Resources.CPU = &specs.LinuxCPU{Cpus: "999"}
		}, says: "cpuset"},
		{name: "HookFails", spec: func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateRuntime: hook("echo because; exit 9")} }, says: "because"},
		{name: "HookIsKilled", spec: func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateRuntime: hook("kill -9 $$")} }, says: "createRuntime"},
		{name: "NoHook", spec: func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/no/hook"}}}
		}, says: "/no/hook"},
		{name: "PoststartFails", spec: func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststart: hook("exit 8")} }, says: "poststart"},
		{name: "NoLogger", io: cio.BinaryIO(dir+"/nologger", nil), says: "nologger"},
		{name: "LoggerFails", io: cio.LogURI(&url.URL{Scheme: "binary-v2", Path: "/bin/false"}), says: "/bin/false"},
		{name: "ExecNoProgram", exec: func(p *specs.Process) { p.Args = []string{"/no/such"} }, says: "/no/such"},
		{name: "ExecNoDirectory", exec: func(p *specs.Process) { p.Cwd = "/no/dir" }, says: "/no/dir"},
		{name: "ExecNoLogger", exec: func(*specs.Process) {}, io: cio.BinaryIO(dir+"/nologger", nil), says: "nologger"},
		{name: "ExecOnTerminal", exec: func(p *specs.Process) { p.Args, p.Terminal = []string{"/no/such"}, true }, says: "/no/such"},
	}
}

// Whatever cannot be fails with an error that names it, and leaves nothing: not
// on the host, and no descriptor, goroutine or slot in the server.
func TestFailuresLeaveNothing(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	quiet := d.StartTask(t, sleeper(t, d))
	calm(t, d, quiet)
	all := failures(t.TempDir())
	for _, f := range all { // once alone, to see who leaks
		before := d.Footprint(t)
		t.Run(f.name, func(t *testing.T) {
			if err := f.try(t, d, quiet); err == nil || !strings.Contains(err.Error(), f.says) {
				t.Errorf("got %v, want an error that names %s", err, f.says)
			}
			if strings.Contains(f.name, "Exec") {
				return
			}
			d.CheckFootprint(t, before)
		})
	}
	before := d.Footprint(t)
	parallel(8, 10*len(all), func(i int) string {
		if err := all[i%len(all)].try(t, d, quiet); err == nil {
			t.Errorf("%s: got no error", all[i%len(all)].name)
		}
		return ""
	})
	d.CheckFootprint(t, before)
	d.Exec(t, quiet, "/bin/true")
}

// try makes a container that fails in create or start, or such an exec.
func (f failing) try(t *testing.T, d *env.Daemon, quiet client.Task) error {
	ctx := d.Context(t)
	streams := f.io
	if streams == nil {
		streams = cio.NewCreator(cio.WithStreams(nil, &env.Output{}, &env.Output{}), cio.WithFIFODir(d.Dir+"/io"))
	}
	if f.exec != nil {
		return f.tryExec(ctx, streams, quiet)
	}
	change := func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		if f.spec != nil {
			f.spec(s)
		}
		return nil
	}
	c, err := d.NewContainer(ctx, env.ContainerConfig{ID: f.id, Args: []string{"/bin/sleep", "100000"}, Opts: []oci.SpecOpts{change}})
	if err != nil {
		return err
	}
	defer func() {
		if err := c.Delete(ctx, client.WithSnapshotCleanup); err != nil {
			t.Errorf("%s: delete container: %v", f.name, err)
		}
	}()
	task, err := c.NewTask(ctx, streams)
	if err != nil {
		return err
	}
	started := task.Start(ctx)
	if _, err := task.Delete(ctx, client.WithProcessKill); err != nil {
		t.Errorf("%s: delete: %v", f.name, err)
	}
	return started
}

func (f failing) tryExec(ctx context.Context, streams cio.Creator, task client.Task) error {
	spec, err := task.Spec(ctx)
	if err != nil {
		return err
	}
	process := *spec.Process
	f.exec(&process)
	p, err := task.Exec(ctx, newExecID(), &process, streams)
	if err != nil {
		return err
	}
	started := p.Start(ctx)
	if _, err := p.Delete(ctx, client.WithProcessKill); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return started
}

// newExecID is one that no other exec has.
func newExecID() string { return "f" + strings.ToLower(rand.Text()[:12]) }
