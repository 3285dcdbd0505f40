// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"foundry/runtime/plan"
)

// hookKinds are the kinds of hooks for which a plan stops, in their order.
func hookKinds(p *plan.Plan) []uint64 {
	var kinds []uint64
	for i := range p.Steps {
		if p.Steps[i].Op == plan.OpHooks {
			kinds = append(kinds, p.Steps[i].A)
		}
	}
	return kinds
}

// nextHooks runs the hooks for which init stopped, and lets it go on.
func (c *Container) nextHooks(ctx context.Context) error {
	if len(c.stops) == 0 {
		return fmt.Errorf("follow init: it stops for hooks that its plan does not have")
	}
	kind := c.stops[0]
	c.stops = c.stops[1:]
	var err error
	switch kind {
	case plan.HookCreateContainer:
		err = c.createContainerHooks(ctx)
	case plan.HookStartContainer:
		err = c.startContainerHooks(ctx)
	default:
		err = c.createHooks(ctx, c.Pid())
	}
	if err != nil {
		return err
	}
	return c.init.proc.Go()
}

// createContainerHooks run in the container's namespaces, where its root is
// not yet pivoted to: they are programs of the host, with all rights there.
func (c *Container) createContainerHooks(ctx context.Context) error {
	pid, err := innerPid(c.Pid())
	if err != nil {
		return err
	}
	state := hookState(c.spec, c.name.id, c.bundle, specs.StateCreating, pid)
	l := c.hooks(ctx, "createContainer", c.spec.Hooks.CreateContainer, state)
	l.dir = c.facts.Rootfs
	return l.run(ctx, func(ctx context.Context, h hookRun) (string, error) {
		return c.runAs(ctx, h, HelperConfig{inside: c})
	}, false)
}

// startContainerHooks run in the container after Start, before its program.
// They are programs of the image, which nobody vouches for, so they get what
// the container's own process gets and no more: user, capabilities, filter,
// labels, cgroup.
func (c *Container) startContainerHooks(ctx context.Context) error {
	pid, err := innerPid(c.Pid())
	if err != nil {
		return err
	}
	// This keeps Pause out: a hook could not be born in a frozen group.
	if err := c.frozen.enter(ctx, false); err != nil {
		return fmt.Errorf("wait for a pause under way: %w", err)
	}
	defer c.frozen.leave()
	state := hookState(c.spec, c.name.id, c.bundle, specs.StateCreated, pid)
	l := c.hooks(ctx, "startContainer", c.spec.Hooks.StartContainer, state)
	l.dir = c.spec.Process.Cwd
	return l.run(ctx, func(ctx context.Context, h hookRun) (string, error) {
		return c.runAs(ctx, h, HelperConfig{inside: c, as: c.spec.Process})
	}, false)
}

// namespaceKinds are the kinds of namespaces as the spec and as /proc/PID/ns
// name them.
var namespaceKinds = []struct {
	kind specs.LinuxNamespaceType
	file string
	flag uint64
}{
	{specs.UserNamespace, "user", unix.CLONE_NEWUSER},
	{specs.PIDNamespace, "pid", unix.CLONE_NEWPID},
	{specs.NetworkNamespace, "net", unix.CLONE_NEWNET},
	{specs.IPCNamespace, "ipc", unix.CLONE_NEWIPC},
	{specs.UTSNamespace, "uts", unix.CLONE_NEWUTS},
	{specs.CgroupNamespace, "cgroup", unix.CLONE_NEWCGROUP},
	{specs.TimeNamespace, "time", unix.CLONE_NEWTIME},
	{specs.MountNamespace, "mnt", unix.CLONE_NEWNS},
}

// hostNamespaces is the mask of those that the spec gives by path and that are
// the server's own.
func hostNamespaces(spec *specs.Spec) uint64 {
	var mask uint64
	if spec.Linux == nil {
		return 0
	}
	for _, ns := range spec.Linux.Namespaces {
		for _, k := range namespaceKinds {
			if ns.Path != "" && ns.Type == k.kind && sameFile(ns.Path, "/proc/self/ns/"+k.file) {
				mask |= k.flag
			}
		}
	}
	return mask
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}
