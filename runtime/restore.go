// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"

	"foundry/runtime/journal"
	"foundry/runtime/oci"
	"foundry/runtime/plan"
)

// restore makes init out of a checkpoint: criu, in the container's group and in
// a mount namespace that has the root, restores it as its own sibling, which the
// spawner adopts. The processes stay stopped until Start.
func (c *Container) restore(ctx context.Context, cfg CreateConfig) error {
	if err := checkpointable(c.spec, c.rt.host.cgroups.Unified); err != nil {
		return err
	}
	dirs, err := openCriuDirs(cfg.Checkpoint, cfg.Bundle)
	if err != nil {
		return err
	}
	defer closeAll(dirs)
	opts := criuOptions(dirs, restoreLog)
	opts.Root = proto.String(c.facts.Rootfs)
	opts.RstSibling = proto.Bool(true)
	opts.NotifyScripts = proto.Bool(true)
	conf, err := c.criuConf(cfg)
	if err != nil {
		return err
	}
	defer os.Remove(conf)
	opts.ConfigFile = proto.String(conf)
	opts.TcpEstablished, opts.ExtUnixSk, opts.FileLocks = proto.Bool(true), proto.Bool(true), proto.Bool(true)
	opts.CgRoot = []*rpc.CgroupRoot{{Ctrl: proto.String(""), Path: proto.String(c.group.Path())}}
	opts.External = bindSources(c.spec, c.bundle)
	inherited, opened, err := c.inherit(cfg, opts)
	if err != nil {
		return err
	}
	defer closeAll(opened)
	if err := c.noteSpawn(); err != nil {
		return err
	}
	run := criuRun{start: c.startRestore, extra: inherited, log: filepath.Join(cfg.Bundle, restoreLog)}
	run.notify = c.duringRestore(ctx)
	if _, err := run.do(ctx, &rpc.CriuReq{Type: rpc.CriuReqType_RESTORE.Enum(), Opts: opts}); err != nil {
		return fmt.Errorf("restore from %s: %w", cfg.Checkpoint, c.explainCriu(ctx, err))
	}
	if c.init == nil {
		return fmt.Errorf("restore from %s: criu did not say which process it restored (needs criu >= 3.17)", cfg.Checkpoint)
	}
	c.restored = true
	return nil
}

// duringRestore is what is done where criu stops: the hooks that see a container's
// namespaces run as soon as it has some, as with runc.
func (c *Container) duringRestore(ctx context.Context) func(script string, pid int) error {
	return func(script string, pid int) error {
		switch script {
		case "setup-namespaces":
			return c.createHooks(ctx, pid)
		case "post-restore":
			return c.adopt(ctx, pid)
		}
		return nil
	}
}

// criuConf writes what criu 3.17 takes from a file alone. Its working directory is
// there because one of our own /proc/PID/fd is no place for mounts in criu's
// mount namespace.
func (c *Container) criuConf(cfg CreateConfig) (string, error) {
	name := filepath.Join(cfg.Bundle, "criu.conf")
	text := fmt.Sprintf("work-dir %q\nleave-stopped\n", cfg.Bundle)
	return name, os.WriteFile(name, []byte(text), 0o600)
}

// adopt makes pid, which criu has restored, the container's init.
func (c *Container) adopt(ctx context.Context, pid int) error {
	client := c.rt.spawner.Load()
	if client == nil {
		return ErrSpawner
	}
	child := c.keys.expect(&c.rt.router)
	proc, err := client.Adopt(ctx, child.key, pid)
	if err != nil {
		c.rt.drop(child)
		return err
	}
	c.init = &Process{child: child, proc: proc}
	start, err := startTime(pid)
	if err != nil {
		return err
	}
	return c.note(journal.Entry{Kind: journal.Process, Key: child.key, Pid: pid, Start: start})
}

// bindSources tell criu what to bind where the checkpoint has an external mount.
func bindSources(spec *specs.Spec, bundle string) []string {
	list := []string{fmt.Sprintf("mnt[%s]:/dev/null", nullCookie)}
	for _, m := range spec.Mounts {
		if !oci.IsBind(m) {
			continue
		}
		list = append(list, fmt.Sprintf("mnt[%s]:%s", m.Destination, plan.HostPath(bundle, m.Source)))
	}
	return list
}

// inherit lists criu's descriptors from 4 on: the streams that take the place of
// the old container's pipes, and a network namespace to join. The opened ones
// are for the caller to close.
func (c *Container) inherit(cfg CreateConfig, opts *rpc.CriuOpts) (files, opened []*os.File, err error) {
	names, err := loadStdio(cfg.Checkpoint)
	if err != nil {
		return nil, nil, withKind(ErrInvalid, fmt.Errorf("restore from %s: not a checkpoint of ours: %w", cfg.Checkpoint, err))
	}
	add := func(key string, f *os.File) {
		opts.InheritFd = append(opts.InheritFd, &rpc.InheritFd{Key: proto.String(key), Fd: proto.Int32(int32(4 + len(files)))})
		files = append(files, f)
	}
	for i, f := range []*os.File{cfg.Stdio.Stdin, cfg.Stdio.Stdout, cfg.Stdio.Stderr} {
		if strings.HasPrefix(names[i], "pipe:") {
			if f == nil {
				if f, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
					closeAll(opened)
					return nil, nil, err
				}
				opened = append(opened, f)
			}
			add(names[i], f)
		}
	}
	if where := joinedNetwork(c.spec); where != "" {
		f, err := openNamespace(where, syscall.CLONE_NEWNET)
		if err != nil {
			closeAll(opened)
			return nil, nil, err
		}
		opened = append(opened, f)
		add(netCookie, f)
	}
	return files, opened, nil
}

// startRestore starts criu where the container will be.
func (c *Container) startRestore(ctx context.Context, h HelperConfig) (*Process, error) {
	l := helperLaunch{keys: c.keys, group: c.group, files: h.Files, at: h.listener}
	l.plan = func(int) (*plan.Plan, error) { // which enters the container's hierarchies by itself
		return plan.NewRestore(c.spec, c.facts, plan.Helper{Path: h.Path, Args: h.Args, Env: h.Env, Dir: h.Dir, ExtraFiles: len(h.Files) - 3})
	}
	proc, err := c.rt.startHelper(ctx, l)
	if err == nil {
		proc.child.arm(c.rt.deliver(nil, nothingStored))
	}
	return proc, err
}

// startRestored lets the processes go on that restore left stopped.
func (c *Container) startRestored(ctx context.Context) error {
	if err := signalAll(c.group, syscall.SIGCONT); err != nil {
		return err
	}
	c.running.Store(true)
	return c.poststart(ctx)
}
