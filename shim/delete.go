// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	"google.golang.org/protobuf/proto"

	"foundry/shim/flight"
	"foundry/shim/stdio"
)

// ExitFile is what a successful Delete leaves in the bundle: the protobuf
// DeleteResponse that the launcher prints when containerd calls `delete`
// afterwards, which it does for every task.
const ExitFile = "foundry.exit"

// remove deletes a stopped container. Who comes while another deletes it
// waits for that one and then finds it gone.
func (s *Service) remove(ctx context.Context, c *container, drain time.Duration) (Proc, error) {
	defer c.removing()()
	if err := c.stopCreated(ctx); err != nil {
		return Proc{}, err
	}
	if err := c.step(Event{Verb: Delete}); err != nil {
		return Proc{}, c.elsewhere(ctx, err)
	}
	p, err := c.dismantle(ctx, drain)
	if err != nil {
		_ = c.step(Event{Verb: NoDelete, Err: err})
		return Proc{}, fmt.Errorf("delete %q: %w", c.key.ID, err)
	}
	if err := writeExit(c.bundle, p); err != nil {
		// Nothing is left to delete, and on a full disk only deleting helps.
		c.log.Warn("delete will not know the exit", "err", err)
	}
	err = c.step(Event{Verb: DidDelete})
	s.table.release(c)
	c.flight.Gone(flight.Key(c.key))
	close(c.gone)
	return p, err
}

// removing notes that the container is being deleted, until the call that it
// returns.
func (c *container) removing() (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removals++; c.removals == 1 {
		c.removed = make(chan struct{})
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.removals--; c.removals == 0 {
			close(c.removed)
			c.removed = nil
		}
	}
}

// settle waits, within reason, until nobody is deleting the container.
func (c *container) settle(ctx context.Context) {
	c.mu.Lock()
	removed := c.removed
	c.mu.Unlock()
	if removed == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	select {
	case <-removed:
	case <-ctx.Done():
	}
}

// stopCreated ends an init that was never started: it has no program that
// could end by itself.
func (c *container) stopCreated(ctx context.Context) error {
	if p, _, _ := c.look(""); p.Phase != Created {
		return nil
	}
	return c.end(ctx)
}

// end kills everything in a container and waits for init's exit.
func (c *container) end(ctx context.Context) error {
	_, init, err := c.look("")
	if err != nil {
		return err
	}
	select {
	case <-init.done:
		return nil
	default:
	}
	c.noteForced()
	killed := errors.Join(c.run.Kill(ctx, syscall.SIGKILL), c.run.KillAll(ctx, syscall.SIGKILL))
	select {
	case <-init.done:
		return nil // whatever went wrong with the signals
	case <-ctx.Done():
		return fmt.Errorf("delete %q: wait for init's exit: %w", c.key.ID, errors.Join(context.Cause(ctx), killed))
	}
}

// cancelCreate ends a create under way, whose id is then free; that is the
// error. A create that had come too far for that has made a container after all,
// which is returned.
func (s *Service) cancelCreate(ctx context.Context, id string) (*container, error) {
	k, err := key(ctx, id)
	if err != nil {
		return nil, err
	}
	if c := s.table.get(k); c != nil && !c.visible() {
		if err := c.abort(ctx); err != nil {
			return nil, err
		}
	}
	return s.find(ctx, id)
}

// abort ends a create under way and returns when it is through.
func (c *container) abort(ctx context.Context) error {
	c.cancel()
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cancel create of %q: %w", c.key.ID, context.Cause(ctx))
	}
}

// elsewhere turns the refusal of a second Delete into what the first one will
// have made of it.
func (c *container) elsewhere(ctx context.Context, refused error) error {
	var te *TransitionError
	if !errors.As(refused, &te) || te.From < Deleting {
		return fmt.Errorf("delete %q: %w", c.key.ID, refused)
	}
	select {
	case <-c.gone:
		return fmt.Errorf("delete %q: %w", c.key.ID, errNoContainer)
	case <-ctx.Done():
		return fmt.Errorf("delete %q: %w", c.key.ID, refused)
	}
}

// dismantle takes down what is left of a stopped container: its execs, its
// output, its cgroup and mounts. It can be called again after an error.
func (c *container) dismantle(ctx context.Context, drain time.Duration) (Proc, error) {
	c.mu.Lock()
	p := c.state.Init
	procs := make([]*process, 0, len(c.procs))
	for _, proc := range c.procs {
		procs = append(procs, proc)
	}
	c.mu.Unlock()
	draining, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	var errs []error
	for _, proc := range procs {
		errs = append(errs, c.release(draining, proc))
	}
	errs = append(errs, c.run.Delete(ctx))
	return p, errors.Join(errs...)
}

// release waits for the last output of a process that has ended and gives its
// descriptors back.
func (c *container) release(ctx context.Context, p *process) error {
	c.mu.Lock()
	io, proc := p.io, p.proc
	c.mu.Unlock()
	var errs []error
	if io != nil {
		c.drain(ctx, p, io)
		errs = append(errs, io.Close())
	}
	if proc != nil {
		errs = append(errs, proc.Close())
	}
	return errors.Join(errs...)
}

// removeExec deletes an exec that has ended or was never started.
func (c *container) removeExec(ctx context.Context, exec string) (Proc, error) {
	if err := c.step(Event{Verb: Delete, Exec: exec}); err != nil {
		return Proc{}, fmt.Errorf("delete exec %q of %q: %w", exec, c.key.ID, err)
	}
	p, live, err := c.look(exec)
	if err != nil {
		return p, err
	}
	draining, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if err := c.release(draining, live); err != nil {
		_ = c.step(Event{Verb: NoDelete, Exec: exec, Err: err})
		return p, fmt.Errorf("delete exec %q of %q: %w", exec, c.key.ID, err)
	}
	c.mu.Lock()
	delete(c.procs, exec)
	c.mu.Unlock()
	return p, c.step(Event{Verb: DidDelete, Exec: exec})
}

// drain gives output that is under way its time. What a grandchild still
// holds open, or nobody reads, does not keep a process from being deleted.
func (c *container) drain(ctx context.Context, p *process, io *stdio.IO) {
	if err := io.Drain(ctx); err != nil {
		c.log.Warn("output is cut off", "process", name(p.id), "err", err)
	}
}

func deleteResponse(p Proc) *task.DeleteResponse {
	return &task.DeleteResponse{Pid: uint32(p.Pid), ExitStatus: p.Exit.Status, ExitedAt: timestamp(p.Exit.At)}
}

// writeExit leaves the answer for the `delete` that containerd will call. A
// bundle that is gone has nobody to ask for it.
func writeExit(bundle string, p Proc) error {
	data, err := proto.Marshal(deleteResponse(p))
	if err != nil {
		return fmt.Errorf("encode exit: %w", err)
	}
	path := filepath.Join(bundle, ExitFile)
	err = os.WriteFile(path+".tmp", data, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep exit: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("keep exit: %w", err)
	}
	return nil
}
