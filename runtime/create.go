// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime/cgroup"
	"foundry/runtime/journal"
	"foundry/runtime/oci"
	"foundry/runtime/plan"
	"foundry/runtime/spawn"
)

// undoTimeout bounds the undoing of a failed Create, whose own context may
// have ended already.
const undoTimeout = 10 * time.Second

// CreateConfig is a request to create a container.
type CreateConfig struct {
	Namespace, ID string
	// Bundle is the absolute directory of config.json.
	Bundle string
	// Rootfs are mounted, in order, on Bundle/rootfs inside the container's
	// mount namespace. Empty: the root is what config.json names.
	Rootfs []plan.Mount
	// Checkpoint is the directory of a checkpoint to restore init from, by
	// [Container.Checkpoint]; empty: init is made from config.json.
	Checkpoint string
	Stdio      Stdio
	Options    Options
	// OnExit is called once, when init has ended; it must not block, and
	// somebody must call Ack on what it gets. It is never called for a
	// container whose Create failed. Nil: the exit is acknowledged at once.
	OnExit func(Exit)
	// Phase is told, by whoever calls Create and then Start, which part of
	// it is through and how long that took. Nil: nobody asks.
	Phase func(Phase, time.Duration)
}

// Options change how a container is made; the zero value is the usual.
type Options struct {
	NoPivotRoot  bool
	NoNewKeyring bool
}

// Create makes a container up to the point where [Container.Start] lets its
// program run: journal, cgroup, cloned init, mounts, hooks. When a step fails,
// all that was done is undone, and every error is in the one returned.
func (r *Runtime) Create(ctx context.Context, cfg CreateConfig) (*Container, error) {
	c := &Container{rt: r, name: name{cfg.Namespace, cfg.ID}, bundle: cfg.Bundle, keys: newKeys(), watch: stopwatch{tell: cfg.Phase}}
	c.undo.after = r.cfg.step
	if err := r.reserve(c); err != nil {
		return nil, fmt.Errorf("create %q: %w", cfg.ID, err)
	}
	err := c.create(ctx, cfg)
	if err == nil {
		err = c.group.Settled()
	}
	if err != nil {
		err = errors.Join(explain(c.starved(err)), c.abandon(ctx))
		r.release(c)
		return nil, fmt.Errorf("create %q: %w", cfg.ID, err)
	}
	c.init.child.arm(c.onExit(cfg.OnExit))
	return c, nil
}

func (c *Container) create(ctx context.Context, cfg CreateConfig) error {
	c.watch.begin()
	spec, err := oci.Load(cfg.Bundle)
	if err != nil {
		return err
	}
	c.spec = spec
	for _, name := range oci.UnknownAnnotations(spec) {
		c.rt.cfg.Log.Warn("unknown annotation is ignored", "namespace", c.name.namespace, "id", c.name.id, "annotation", name)
	}
	c.watch.lap(PhaseLoad)
	if err := c.openJournal(); err != nil {
		return err
	}
	c.lateDevices = cfg.Checkpoint == "" && mountsBlockDevice(spec, cfg.Rootfs)
	if err := c.makeCgroup(); err != nil {
		return err
	}
	c.watch.lap(PhaseCgroup)
	if c.facts, err = c.gatherFacts(cfg); err != nil {
		return err
	}
	if cfg.Checkpoint != "" {
		err := c.restore(ctx, cfg)
		c.watch.lap(PhaseRestore)
		return err
	}
	p, err := plan.New(spec, c.facts)
	if err != nil {
		return err
	}
	c.stops = hookKinds(p)
	c.watch.lap(PhasePlan)
	if err := c.cloneInit(ctx, p, cfg.Stdio); err != nil {
		return err
	}
	c.watch.lap(PhaseClone)
	if err := c.untilReady(ctx); err != nil {
		return err
	}
	if err := c.limitDevices(); err != nil {
		return err
	}
	c.trim()
	return nil
}

// openJournal begins the journal: from here on a cleanup knows the container.
func (c *Container) openJournal() error {
	dir, err := journal.Dir(c.rt.cfg.Root, c.name.namespace, c.name.id)
	if err != nil {
		return withKind(ErrInvalid, err)
	}
	j, err := journal.Create(dir)
	if errors.Is(err, fs.ErrExist) {
		return withKind(ErrExists, fmt.Errorf("%w (left by a server that died: run delete on the bundle first)", err))
	}
	if err != nil {
		return err
	}
	c.journal = j
	c.undo.pushLast("remove journal", func(context.Context) error { return j.Remove() })
	return c.note(journal.Entry{
		Kind: journal.Opened, Namespace: c.name.namespace, ID: c.name.id,
		Bundle: c.bundle, Slots: c.rt.cfg.Slots, Key: c.keys.first,
	})
}

// note journals e, which is about to happen.
func (c *Container) note(e journal.Entry) error {
	if err := c.journal.Append(e); err != nil {
		return err
	}
	c.rt.cfg.step(string(e.Kind))
	return nil
}

func (c *Container) makeCgroup() error {
	where := cgroupPath(c.spec, c.name)
	if own := c.rt.ownGroup(); within(path.Join("/", where), own) {
		return withKind(ErrInvalid, fmt.Errorf("config.json: linux.cgroupsPath: %q is in %s, the server's own group", where, own))
	}
	if err := c.note(journal.Entry{Kind: journal.Cgroup, Path: where}); err != nil {
		return err
	}
	var resources *specs.LinuxResources
	if c.spec.Linux != nil {
		resources = c.spec.Linux.Resources
	}
	if c.lateDevices {
		resources = anyDevice(resources)
	}
	group, err := cgroup.Create(cgroup.Config{Info: c.rt.host.cgroups, Path: where, Resources: resources, Hold: c.hold})
	if err != nil {
		return err
	}
	c.group = group
	c.undo.push("remove cgroup", func(context.Context) error { return group.Remove() })
	c.rt.cfg.step("cgroup made")
	return errors.Join(c.delegate(), c.watchOOM())
}

// ownGroup is the group of the server, its spawner and its helpers.
func (r *Runtime) ownGroup() string { return path.Join("/foundry", filepath.Base(r.cfg.Root)) }

func within(p, group string) bool { return p == group || strings.HasPrefix(p, group+"/") }

// cgroupPath is where the container's cgroup is, below each hierarchy's mount
// or, as slice:prefix:name, with systemd.
func cgroupPath(spec *specs.Spec, n name) string {
	if spec.Linux != nil && spec.Linux.CgroupsPath != "" {
		return spec.Linux.CgroupsPath
	}
	return path.Join("/foundry", n.namespace, n.id)
}

// hasMountNamespace says whether the stage's mounts are seen by the container
// alone.
func hasMountNamespace(spec *specs.Spec) bool {
	if spec.Linux == nil {
		return false
	}
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == specs.MountNamespace {
			return true
		}
	}
	return false
}

// cloneInit has the spawner start the stage.
func (c *Container) cloneInit(ctx context.Context, p *plan.Plan, stdio Stdio) error {
	if !hasMountNamespace(c.spec) {
		root := c.facts.Rootfs
		if err := c.note(journal.Entry{Kind: journal.Mounts, Path: root}); err != nil {
			return err
		}
		c.undo.push("unmount root", func(context.Context) error { return unmountAll(root) })
	}
	if err := c.give(stdio, c.spec.Process); err != nil {
		return err
	}
	in, err := enter(c.group, c.rt.host.cgroups.Unified)
	if err != nil {
		return err
	}
	defer in.close()
	src := sources{stdio: stdio, cgroup1: in.tasks}
	files, opened, err := src.open(p)
	if err != nil {
		return err
	}
	defer closeAll(opened)
	if err := c.noteSpawn(); err != nil {
		return err
	}
	l := launch{child: c.keys.expect(&c.rt.router), plan: p, files: files, cgroup: in.dir}
	if c.init, err = c.rt.start(ctx, l); err != nil {
		return err
	}
	start, err := startTime(c.init.Pid())
	if err != nil && !c.init.isDead() {
		return err
	} // dead already: Sync will tell of what
	return c.note(journal.Entry{Kind: journal.Process, Key: l.child.key, Pid: c.init.Pid(), Start: start})
}

// noteSpawn journals that the container is about to get processes, and has
// them ended with it.
func (c *Container) noteSpawn() error {
	if err := c.note(journal.Entry{Kind: journal.Spawn}); err != nil {
		return err
	}
	c.undo.push("run poststop hooks", c.poststop)
	c.undo.push("kill", c.killAll)
	return nil
}

// untilReady follows init to the point where it waits for Start.
func (c *Container) untilReady(ctx context.Context) error {
	mounts := PhaseMounts // the first point is where they are made
	err := c.init.follow(ctx, spawn.PointReady, func(point spawn.Point) error {
		if point != spawn.PointHooks {
			return c.onListener(ctx, c.init)(point)
		}
		c.watch.lap(mounts)
		if err := c.nextHooks(ctx); err != nil {
			return err
		}
		c.watch.lap(PhaseHooks)
		mounts = PhaseReady
		return nil
	})
	if err != nil {
		return err
	}
	c.rt.cfg.step("ready")
	c.watch.lap(mounts)
	return c.openTerminal()
}

// openTerminal takes the pty master out of init, if it has one.
func (c *Container) openTerminal() (err error) {
	if c.spec.Process == nil || !c.spec.Process.Terminal {
		return nil
	}
	c.init.tty, err = c.init.proc.TTY()
	return err
}

// abandon undoes a failed Create. What cannot be undone now is left to delete,
// which finds the journal unlocked.
func (c *Container) abandon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if c.init != nil {
		c.init.child.arm(c.onExit(nil))
	}
	err := c.undo.unwind(ctx)
	c.close()
	return err
}

// trim lets go of what only Create needed: hundreds of specs stay in memory.
func (c *Container) trim() {
	spec := *c.spec
	spec.Mounts = nil
	if spec.Linux != nil {
		linux := *spec.Linux
		linux.Seccomp, linux.Devices, linux.Resources = nil, nil, nil
		linux.MaskedPaths, linux.ReadonlyPaths = nil, nil
		spec.Linux = &linux
	}
	c.spec = &spec
	c.facts.RootfsMounts = nil
}

// gatherFacts is what the plan needs to know of the host.
func (c *Container) gatherFacts(cfg CreateConfig) (plan.Facts, error) {
	f := plan.Facts{
		ID:           cfg.ID,
		Bundle:       cfg.Bundle,
		Rootfs:       rootfs(cfg, c.spec),
		RootfsMounts: cfg.Rootfs,
		Unified:      c.rt.host.cgroups.Unified,
		LastCap:      c.rt.host.lastCap,
		Caps:         c.rt.host.caps,
		KCore:        c.rt.host.kcore,
		NoPivotRoot:  cfg.Options.NoPivotRoot,
		NoNewKeyring: cfg.Options.NoNewKeyring,
		AppArmor:     c.rt.host.apparmor,
		SELinux:      c.rt.host.selinux,
		Hooks:        hasCreateHooks(c.spec),
	}
	if h := c.spec.Hooks; h != nil {
		f.CreateContainerHooks, f.StartContainerHooks = len(h.CreateContainer) > 0, len(h.StartContainer) > 0
	}
	f.HostNamespaces = hostNamespaces(c.spec)
	c.cgroupFacts(&f)
	return f, c.filterFacts(&f)
}

// filterFacts compiles the seccomp profile, and finds who answers when it asks.
func (c *Container) filterFacts(f *plan.Facts) error {
	if c.spec.Linux == nil || c.spec.Linux.Seccomp == nil {
		return nil
	}
	filter, err := c.rt.filters.Compile(c.spec.Linux.Seccomp)
	if err != nil {
		return withKind(ErrInvalid, err)
	}
	f.Seccomp, f.SeccompFlags, f.SeccompListener = filter.Prog, filter.Flags, filter.Notify
	if !filter.Notify {
		return nil
	}
	c.listener = listenerOf(c.spec)
	return c.listener.check()
}

// cgroupFacts says where the plan finds the container's cgroup.
func (c *Container) cgroupFacts(f *plan.Facts) {
	if c.rt.host.cgroups.Unified {
		f.UnifiedPath = c.group.Dirs()[0]
		return
	}
	for _, h := range c.rt.host.cgroups.Hierarchies {
		f.Cgroups = append(f.Cgroups, plan.CgroupFact{
			Name: h.Name, Controllers: h.Controllers, Mountpoint: h.Mountpoint, Path: c.group.Path(), CgroupFile: true,
		})
	}
}

// rootfs is where the container's root is: the mounts of the request go to
// rootfs in the bundle, else config.json says it.
func rootfs(cfg CreateConfig, spec *specs.Spec) string {
	if len(cfg.Rootfs) > 0 || spec.Root == nil || spec.Root.Path == "" {
		return filepath.Join(cfg.Bundle, "rootfs")
	}
	if filepath.IsAbs(spec.Root.Path) {
		return filepath.Clean(spec.Root.Path)
	}
	return filepath.Join(cfg.Bundle, spec.Root.Path)
}
