// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime/journal"
)

// hookOutput is how much of a hook's output an error shows: its end, where
// programs say what went wrong.
const hookOutput = 4 << 10

// hookPath is the environment of a hook that has none.
const hookPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// hookRun is one hook about to be run. Two things run it: the server through
// the spawner, and delete by itself when there is no spawner.
type hookRun struct {
	path, dir string
	args, env []string
	state     []byte // for its stdin
}

// runner runs a hook to its end or that of ctx; it returns the end of its
// output, and an error unless the hook exited with 0.
type runner func(context.Context, hookRun) (output string, err error)

// hookList is the hooks of one kind, with what they are told.
type hookList struct {
	kind  string
	hooks []specs.Hook
	state specs.State
	dir   string   // where they run
	env   []string // beside PATH, for those that bring no environment
}

// run runs the hooks in their order. The first that fails ends it, unless all is
// set: then every hook is run and the errors are joined.
func (l hookList) run(ctx context.Context, run runner, all bool) error {
	if len(l.hooks) == 0 {
		return nil
	}
	state, err := json.Marshal(l.state)
	if err != nil {
		return fmt.Errorf("run %s hooks: %w", l.kind, err)
	}
	var errs []error
	for i, h := range l.hooks {
		if err := runHook(ctx, run, h, l.runOf(h, state)); err != nil {
			err = fmt.Errorf("%s hook %d %q: %w", l.kind, i, h.Path, err)
			if !all {
				return err
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// runOf completes a hook by what it leaves out.
func (l hookList) runOf(h specs.Hook, state []byte) hookRun {
	r := hookRun{path: h.Path, dir: l.dir, args: h.Args, env: h.Env, state: state}
	if len(r.args) == 0 {
		r.args = []string{r.path}
	}
	if len(r.env) == 0 {
		r.env = append([]string{hookPath}, l.env...)
	}
	return r
}

func runHook(ctx context.Context, run runner, h specs.Hook, r hookRun) error {
	if h.Timeout != nil && *h.Timeout > 0 {
		limit := time.Duration(*h.Timeout) * time.Second
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("killed: it took longer than its timeout of %v", limit))
		defer cancel()
	}
	output, err := run(ctx, r)
	if output = strings.TrimSpace(output); err != nil && output != "" {
		return fmt.Errorf("%w: %s", err, output)
	}
	return err
}

// hookState is what hooks are told of a container.
func hookState(spec *specs.Spec, id, bundle string, status specs.ContainerState, pid int) specs.State {
	return specs.State{
		Version: spec.Version, ID: id, Status: status, Pid: pid, Bundle: bundle, Annotations: spec.Annotations,
	}
}

func hasCreateHooks(spec *specs.Spec) bool {
	return spec.Hooks != nil && len(spec.Hooks.Prestart)+len(spec.Hooks.CreateRuntime) > 0
}

// hooks are the container's hooks of a kind that the runtime runs on the host.
func (c *Container) hooks(ctx context.Context, kind string, list []specs.Hook, state specs.State) hookList {
	l := hookList{kind: kind, hooks: list, state: state, dir: c.bundle}
	if len(list) > 0 && c.rt.cfg.TraceEnv != nil {
		l.env = c.rt.cfg.TraceEnv(ctx)
	}
	return l
}

// createHooks runs the hooks that see the namespaces of the container, whose init
// is pid, before its root is pivoted to.
func (c *Container) createHooks(ctx context.Context, pid int) error {
	if !hasCreateHooks(c.spec) {
		return nil
	}
	if err := c.note(journal.Entry{Kind: journal.Hooks}); err != nil {
		return err
	}
	c.hooked.Store(true)
	state := hookState(c.spec, c.name.id, c.bundle, specs.StateCreating, pid)
	prestart := c.hooks(ctx, "prestart", c.spec.Hooks.Prestart, state) //nolint:staticcheck // deprecated, but in use
	if err := prestart.run(ctx, c.runHelper, false); err != nil {
		return err
	}
	return c.hooks(ctx, "createRuntime", c.spec.Hooks.CreateRuntime, state).run(ctx, c.runHelper, false)
}

func (c *Container) poststart(ctx context.Context) error {
	if c.spec.Hooks == nil {
		return nil
	}
	state := hookState(c.spec, c.name.id, c.bundle, specs.StateRunning, c.Pid())
	return c.hooks(ctx, "poststart", c.spec.Hooks.Poststart, state).run(ctx, c.runHelper, false)
}

// poststop runs the poststop hooks. A hook that fails does not keep the rest
// from being cleaned up, and is not run again: it is logged.
func (c *Container) poststop(ctx context.Context) error {
	if c.spec.Hooks == nil || len(c.spec.Hooks.Poststop) == 0 || !c.mustPoststop() {
		return nil
	}
	state := hookState(c.spec, c.name.id, c.bundle, specs.StateStopped, 0)
	if err := c.hooks(ctx, "poststop", c.spec.Hooks.Poststop, state).run(ctx, c.runHelper, true); err != nil {
		c.rt.cfg.Log.Warn("container is deleted all the same", "namespace", c.name.namespace, "id", c.name.id, "err", err)
	}
	return c.note(journal.Entry{Kind: journal.Poststop})
}

// mustPoststop says whether there is anything that poststop hooks would have
// to take back: create hooks were begun, or there were none and init was made.
func (c *Container) mustPoststop() bool {
	return c.hooked.Load() || !hasCreateHooks(c.spec) && c.init != nil
}

// runHelper runs a hook through the spawner, in the helpers' cgroup.
func (c *Container) runHelper(ctx context.Context, h hookRun) (string, error) {
	return c.runAs(ctx, h, HelperConfig{})
}

// runAs runs a hook as the helper that cfg says.
func (c *Container) runAs(ctx context.Context, h hookRun, cfg HelperConfig) (string, error) {
	stdin, err := memfd("state", h.state)
	if err != nil {
		return "", err
	}
	defer stdin.Close()
	out, err := newTail(hookOutput)
	if err != nil {
		return "", err
	}
	defer out.close()
	cfg.Path, cfg.Args, cfg.Env, cfg.Dir, cfg.Files = h.path, h.args, h.env, h.dir, []*os.File{stdin, out.w, out.w}
	p, err := c.rt.helper(ctx, c.keys, cfg)
	if err != nil {
		return "", err
	}
	defer p.Close()
	out.start()
	p.child.arm(c.rt.deliver(nil, nothingStored))
	if err := c.rt.wait(ctx, p); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		err = errors.Join(context.Cause(ctx), c.rt.killSession(undo, p), c.rt.wait(undo, p))
		return out.finish(), err
	}
	if p.child.exit.Status != 0 {
		return out.finish(), fmt.Errorf("exit status %d", p.child.exit.Status)
	}
	return out.finish(), nil
}
