// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime/cgroup"
	"foundry/runtime/journal"
	"foundry/runtime/oci"
	"foundry/runtime/spawn"
)

// removeTime is what Reclaim keeps of its time for what comes after the hooks.
const removeTime = time.Second

// ReclaimConfig names the container to clean up after.
type ReclaimConfig struct {
	// Root is the instance's directory. Empty: the one that the bundle's
	// pointer file names, and without that file there is nothing to reclaim
	// but mounts.
	Root          string
	Namespace, ID string
	Bundle        string
	// Log gets what keeps nothing from being cleaned up: poststop hooks that
	// fail, a journal that is damaged. Nil is silence.
	Log *slog.Logger
}

// Reclaim undoes from files alone what a server that died, or never knew the
// container, left of it: processes, cgroups, mounts, journal. It returns how
// init ended, as far as anybody noted, and whether there was a journal. It
// waits for a live server that holds the container until ctx ends. It may be
// called again, and for many containers at once: it touches what the journal
// names and nothing else.
func Reclaim(ctx context.Context, cfg ReclaimConfig) (Exit, bool, error) {
	exit, found, err := reclaim(ctx, cfg)
	if err != nil {
		err = fmt.Errorf("reclaim %q: %w", cfg.ID, err)
	}
	return exit, found, err
}

func reclaim(ctx context.Context, cfg ReclaimConfig) (Exit, bool, error) {
	unknown := Exit{Status: 128 + int(syscall.SIGKILL), Signal: int(syscall.SIGKILL), At: time.Now()}
	rootfs := filepath.Join(cfg.Bundle, "rootfs")
	if cfg.Root == "" {
		root, err := instanceOf(cfg.Bundle)
		if errors.Is(err, fs.ErrNotExist) {
			return unknown, false, unmountAll(rootfs)
		}
		if err != nil {
			return unknown, false, err
		}
		cfg.Root = root
	}
	dir, err := journal.Dir(cfg.Root, cfg.Namespace, cfg.ID)
	if err != nil {
		return unknown, false, withKind(ErrInvalid, err)
	}
	j, err := journal.Open(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return unknown, false, errors.Join(unmountAll(rootfs), journal.Sweep(dir))
	}
	if err != nil {
		return unknown, false, err
	}
	defer j.Close()
	w := &wreck{cfg: cfg, journal: j}
	// A damaged journal is used as far as it can be read, and then goes.
	entries, damage := j.Entries()
	w.warn("read the journal", damage)
	w.record = journal.Fold(entries)
	w.undo.pushLast("remove journal", func(context.Context) error { return j.Remove() })
	w.undo.push("remove cgroup", w.removeCgroup)
	w.undo.push("unmount", w.unmount)
	w.undo.push("run poststop hooks", w.poststop)
	w.undo.push("kill", w.kill)
	err = w.undo.unwind(ctx)
	return w.exit(unknown), true, err
}

// instanceOf reads the pointer that start left in the bundle.
func instanceOf(bundle string) (string, error) {
	data, err := os.ReadFile(filepath.Join(bundle, "foundry"))
	if err != nil {
		return "", err
	}
	root := strings.TrimSpace(string(data))
	if !filepath.IsAbs(root) {
		return "", fmt.Errorf("read %s/foundry: %q is not an absolute path", bundle, root)
	}
	return root, nil
}

// wreck is a container without a server.
type wreck struct {
	cfg     ReclaimConfig
	record  journal.Record
	journal *journal.Journal
	undo    undoStack
	group   *cgroup.Group // nil before openGroup
}

func (w *wreck) warn(what string, err error) {
	if err != nil && w.cfg.Log != nil {
		w.cfg.Log.Warn(what, "namespace", w.cfg.Namespace, "id", w.cfg.ID, "err", err)
	}
}

// openGroup returns the container's cgroup; nil when none was begun.
func (w *wreck) openGroup() (*cgroup.Group, error) {
	if w.group != nil || w.record.Cgroup == "" {
		return w.group, nil
	}
	host, err := cgroup.Host()
	if err != nil {
		return nil, err
	}
	w.group, err = cgroup.Open(host, w.record.Cgroup)
	return w.group, err
}

// kill ends init, the execs, the hooks under way and all else in the cgroup.
// The cgroup is left alone when init was not about to be cloned: then nothing
// of ours can be in it, and it may be another's that Create was about to refuse.
//
// The cgroup comes first, because only it can kill what is frozen, and again at
// the end, for what those who were on their way into it have started there.
func (w *wreck) kill(ctx context.Context) error {
	if !w.record.Spawned {
		return w.killSlots(ctx) // the holder of a scope: see Container.hold
	}
	errs := []error{w.killGroup(ctx)}
	if w.record.Pid != 0 && w.record.Start != 0 {
		errs = append(errs, endProcess(ctx, w.record.Pid, func() bool {
			start, err := startTime(w.record.Pid)
			return err == nil && start == w.record.Start
		}))
	}
	return errors.Join(append(errs, w.killSlots(ctx), w.killGroup(ctx))...)
}

func (w *wreck) killGroup(ctx context.Context) error {
	group, err := w.openGroup()
	if err != nil || group == nil {
		return err
	}
	return group.Kill(ctx)
}

// removeCgroup removes the cgroup, but see kill: not one that others are in.
func (w *wreck) removeCgroup(context.Context) error {
	group, err := w.openGroup()
	if err != nil || group == nil {
		return err
	}
	if !w.record.Spawned {
		if pids, err := group.Pids(); err != nil || len(pids) > 0 {
			return err
		}
	}
	return group.Remove()
}

func (w *wreck) unmount(context.Context) error {
	err := unmountAll(filepath.Join(w.cfg.Bundle, "rootfs"))
	if w.record.Mounts != "" {
		err = errors.Join(err, unmountAll(w.record.Mounts))
	}
	return err
}

// poststop runs the poststop hooks if the server did not. One that fails is
// logged and keeps nothing from being cleaned up.
func (w *wreck) poststop(ctx context.Context) error {
	if w.record.Poststop || !w.record.Spawned {
		return nil
	}
	spec, err := oci.Load(w.cfg.Bundle)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the bundle is gone, and with it the hooks
	}
	if err != nil {
		w.warn("run poststop hooks", err)
		return nil
	}
	if spec.Hooks == nil || hasCreateHooks(spec) && !w.record.Hooks {
		return nil
	}
	if end, ok := ctx.Deadline(); ok { // a hook that hangs must not keep the rest from being removed in time
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-removeTime))
		defer cancel()
	}
	state := hookState(spec, w.cfg.ID, w.cfg.Bundle, specs.StateStopped, 0)
	w.warn("run poststop hooks", hookList{kind: "poststop", hooks: spec.Hooks.Poststop, state: state, dir: w.cfg.Bundle}.run(ctx, runDirectly, true))
	return w.journal.Append(journal.Entry{Kind: journal.Poststop})
}

// runDirectly runs a hook as a child of this process. Only Reclaim does that:
// it is the whole work of a short-lived program, and there is no spawner.
func runDirectly(ctx context.Context, h hookRun) (string, error) {
	cmd := exec.CommandContext(ctx, h.path)
	var out bytes.Buffer
	cmd.Args, cmd.Env, cmd.Dir = h.args, h.env, h.dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(h.state), &out, &out
	cmd.WaitDelay = 50 * time.Millisecond // for the output, when the hook leaves children behind
	err := cmd.Run()
	var status *exec.ExitError
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.As(err, &status):
		err = fmt.Errorf("exit status %d", status.ExitCode())
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil
	}
	return string(out.Bytes()[max(0, out.Len()-hookOutput):]), err
}

// exit is how init ended: as the spawner recorded it, as the server did before
// it let the spawner forget it, or else as killed now.
func (w *wreck) exit(unknown Exit) Exit {
	if w.record.Slots != "" {
		e, ok, err := spawn.ReadExit(w.record.Slots, w.record.Key)
		if err == nil && ok {
			return Exit{Status: e.Status, Signal: e.Signal, At: e.At, Pid: e.Pid}
		}
	}
	unknown.Pid = w.record.Pid
	if e := w.record.Exit; e != nil {
		return Exit{Status: e.Status, Signal: e.Signal, At: e.At, Pid: e.Pid}
	}
	return unknown
}
