// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"cmp"
	"context"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime"
	"foundry/shim/view"
)

// list returns all containers, those being created included, in the order of
// their names.
func (s *Service) list() []*container {
	s.table.mu.RLock()
	list := slices.Collect(maps.Values(s.table.containers))
	s.table.mu.RUnlock()
	slices.SortFunc(list, func(a, b *container) int {
		return cmp.Or(cmp.Compare(a.key.Namespace, b.key.Namespace), cmp.Compare(a.key.ID, b.key.ID))
	})
	return list
}

// view is a container's line in a list.
func (c *container) view() view.Container {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.viewLocked()
}

func (c *container) viewLocked() view.Container {
	return view.Container{
		Namespace: c.key.Namespace, ID: c.key.ID, Created: c.since, Execs: c.state.liveExecs(),
		Status: c.state.Init.Phase.String(), Pid: c.state.Init.Pid, Exit: exitOf(c.state.Init),
	}
}

func exitOf(p Proc) *view.Exit {
	if !p.Dead {
		return nil
	}
	return &view.Exit{Status: int(p.Exit.Status), At: p.Exit.At}
}

// measured lists containers with what they use. The readings take a time that
// is bounded: what is not there by then is left out.
func (s *Service) measured(ctx context.Context, list []*container) []view.Container {
	ctx, cancel := context.WithTimeout(ctx, measureTime)
	defer cancel()
	out := make([]view.Container, len(list))
	usages := make([]atomic.Pointer[view.Usage], len(list))
	for i, c := range list {
		out[i] = c.view()
	}
	var next atomic.Int64
	var work sync.WaitGroup
	for range min(measureAtOnce, len(list)) {
		work.Go(func() {
			select {
			case s.readers <- struct{}{}:
				defer func() { <-s.readers }()
			case <-ctx.Done(): // others hang, from this question or an earlier one
				return
			}
			for i := next.Add(1) - 1; int(i) < len(list) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if u, err := list[i].usage(); err == nil { // being created, or deleted meanwhile
					usages[i].Store(u)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		work.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done(): // one of them hangs in the kernel
	}
	for i := range out {
		out[i].Usage = usages[i].Load()
	}
	return out
}

// inspect is all that is known of a container.
func (c *container) inspect(ctx context.Context) view.Inspect {
	v := c.remembered()
	if c.made() != nil {
		v.Owned = c.owned(ctx, v.Processes)
		v.Spec = specOf(c.run.Spec())
		if v.Exit == nil {
			v.Mounts = mountsOf(v.Pid)
		}
	}
	return v
}

// made is what stands behind the container's name; nil until it is created.
func (c *container) made() *runtime.Container {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run
}

// remembered is what needs no look at the host.
func (c *container) remembered() view.Inspect {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := view.Inspect{Container: c.viewLocked(), Bundle: c.bundle, OOMs: c.state.OOMs}
	for _, id := range slices.Sorted(maps.Keys(c.procs)) { // init is the empty one, so the first
		p, proc := c.procLocked(id), c.procs[id]
		v.Processes = append(v.Processes, view.Process{
			ID: id, Status: p.Phase.String(), Pid: p.Pid, Exit: exitOf(p), Terminal: proc.urls.Terminal,
			Stdin: proc.urls.Stdin, Stdout: proc.urls.Stdout, Stderr: proc.urls.Stderr,
		})
	}
	return v
}

// specOf is what of config.json is kept.
func specOf(s *specs.Spec) view.Spec {
	v := view.Spec{Version: s.Version, Annotations: s.Annotations, Namespaces: map[string]string{}}
	if s.Process != nil {
		v.Args, v.Cwd, v.UID, v.GID = s.Process.Args, s.Process.Cwd, s.Process.User.UID, s.Process.User.GID
	}
	if s.Linux != nil {
		for _, ns := range s.Linux.Namespaces {
			v.Namespaces[string(ns.Type)] = cmp.Or(ns.Path, "new")
		}
	}
	return v
}

// mountsOf reads what a process has mounted; none when it is gone.
func mountsOf(pid int) []view.Mount {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/mountinfo")
	if err != nil {
		return nil
	}
	var mounts []view.Mount
	for line := range strings.Lines(string(text)) {
		// ID parent major:minor root TARGET OPTIONS [tags...] - TYPE SOURCE options
		left, right, _ := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) > 5 && len(r) > 1 {
			mounts = append(mounts, view.Mount{Target: l[4], Options: l[5], Type: r[0], Source: r[1]})
		}
	}
	return mounts
}

// owned is the ledger of a container that was created.
func (c *container) owned(ctx context.Context, procs []view.Process) *view.Owned {
	l := c.run.Ledger()
	o := &view.Owned{Cgroup: l.Cgroup, CgroupDirs: l.CgroupDirs, Journal: l.Journal, Undo: l.Undo}
	o.Pids, _ = bounded(ctx, call[[]int]{ // none then; State and Pids have the processes
		name: "read cgroup.procs", bound: bound{limit: pidsTime}, log: c.log,
		run: func(context.Context) ([]int, error) { return c.run.Pids() },
	})
	slices.Sort(o.Pids)
	o.Descriptors = descriptors(newOwner(procs, l.Journal, c.bundle))
	return o
}
