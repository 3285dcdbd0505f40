// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

// OneShotConfig is a process for the command line.
type OneShotConfig struct {
	Plan   *plan.Plan
	Files  []*os.File // as Plan.Files; nil is /dev/null
	Cgroup *os.File   // as in Request
	Slots  string     // path of the slot file to make: tells Start why an exec failed
	Fifo   string     // path of the fifo to make, on which the process waits at PointReady; "": it waits for Go
}

// OneShot makes a process without a server: a spawner runs just long enough to
// clone it. It becomes a child of the caller, which OneShot makes a subreaper,
// and when that ends of the next subreaper above. Nobody records its exit but
// its parent.
//
// The caller follows it with Sync as usual. With a Fifo it must not use Go at
// PointReady, but may end; [StartOneShot] then starts the process.
func OneShot(ctx context.Context, cfg OneShotConfig) (p *Process, err error) {
	var undo []func() error
	defer func() {
		for i := len(undo) - 1; err != nil && i >= 0; i-- {
			err = errors.Join(err, undo[i]())
		}
	}()
	slots, err := makeSlots(BootConfig{Slots: cfg.Slots, SlotCount: 1})
	if err != nil {
		return nil, fmt.Errorf("spawn once: %w", err)
	}
	defer slots.Close()
	undo = append(undo, func() error { return os.Remove(cfg.Slots) })
	table, err := mapSlots(slots)
	if err != nil {
		return nil, fmt.Errorf("spawn once: %w", err)
	}
	shot := oneShot{cfg: cfg, slots: slots}
	defer shot.close()
	if err := shot.open(); err != nil {
		return nil, fmt.Errorf("spawn once: %w", err)
	}
	if cfg.Fifo != "" {
		undo = append(undo, func() error { return os.Remove(cfg.Fifo) })
	}
	p = &Process{Key: 1, Slot: 1, plan: cfg.Plan, status: shot.status, page: table.page(1)}
	undo = append(undo, shot.status.Close)
	if err := shot.run(ctx); err != nil {
		if o := outcomeOf(p.page); o.errno != 0 {
			err = p.stageError(o)
		}
		return nil, fmt.Errorf("spawn once: %w", err)
	}
	p.Pid = int(p.page.Pid)
	pidfd, err := unix.PidfdOpen(p.Pid, 0) // a child of ours: nobody else reaps it
	if err != nil {
		return nil, fmt.Errorf("spawn once: pidfd_open %d: %w", p.Pid, err)
	}
	p.Pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	return p, nil
}

// oneShot is what the spawner of one process is started with.
type oneShot struct {
	cfg    OneShotConfig
	slots  *os.File
	status *os.File // ours
	files  []*os.File
	args   []string
	opened []*os.File
}

func (s *oneShot) close() { closeFiles(s.opened) }

// pass adds f to the spawner's descriptors and its number to the arguments.
func (s *oneShot) pass(f *os.File) {
	s.files = append(s.files, f)
	s.args = append(s.args, strconv.Itoa(2+len(s.files)))
}

func (s *oneShot) open() error {
	body, err := Encode(s.cfg.Plan)
	if err != nil {
		return err
	}
	planFile, err := sealed("plan", body, unix.MFD_NOEXEC_SEAL)
	if err != nil {
		return err
	}
	s.opened = append(s.opened, planFile)
	status, childStatus, err := os.Pipe()
	if err != nil {
		return err
	}
	s.status = status
	s.opened = append(s.opened, childStatus)
	null, err := openNull()
	if err != nil {
		return errors.Join(err, status.Close())
	}
	s.opened = append(s.opened, null)
	s.pass(planFile)
	s.pass(s.slots)
	s.pass(childStatus)
	if err := s.passFifo(); err != nil {
		return errors.Join(err, status.Close())
	}
	if s.cfg.Cgroup != nil {
		s.pass(s.cfg.Cgroup)
	} else {
		s.args = append(s.args, "-")
	}
	s.args = append(s.args, strconv.FormatUint(s.cfg.Plan.Clone, 10))
	for _, f := range s.cfg.Files {
		if f == nil {
			f = null
		}
		s.pass(f)
	}
	return nil
}

func (s *oneShot) passFifo() error {
	if s.cfg.Fifo == "" {
		s.args = append(s.args, "-")
		return nil
	}
	if err := unix.Mkfifo(s.cfg.Fifo, 0o600); err != nil {
		return &os.PathError{Op: "mkfifo", Path: s.cfg.Fifo, Err: err}
	}
	// Not os.OpenFile, which would make it non-blocking for the stage too.
	fd, err := unix.Open(s.cfg.Fifo, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return errors.Join(&os.PathError{Op: "open", Path: s.cfg.Fifo, Err: err}, os.Remove(s.cfg.Fifo))
	}
	f := os.NewFile(uintptr(fd), s.cfg.Fifo)
	s.opened = append(s.opened, f)
	s.pass(f)
	return nil
}

func (s *oneShot) run(ctx context.Context) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	program, err := executable(spawnerBinary)
	if err != nil {
		return err
	}
	defer program.Close()
	var text bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/fd/"+strconv.Itoa(3+len(s.files)), append([]string{"-oneshot"}, s.args...)...)
	cmd.Args[0] = "foundry-spawner"
	cmd.ExtraFiles = append(append([]*os.File{}, s.files...), program)
	cmd.Stderr = &text
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(text.String()))
	}
	return nil
}

// ErrNotWaiting is returned by StartOneShot when no process waits.
var ErrNotWaiting = errors.New("no process waits to be started")

// StartOneShot starts the process that waits on fifo, and returns when its
// program runs. Why it does not, the process has left in the slot file; a
// [StageError] made of that knows neither Op nor the paths of descriptors.
func StartOneShot(ctx context.Context, slots, fifo string) error {
	f, err := os.OpenFile(slots, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer f.Close()
	table, err := mapSlots(f)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer table.close()
	page := table.page(1)
	at := atomic.LoadUint32(&page.Step)
	fd, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("start: %w", ErrNotWaiting)
	}
	if err != nil {
		return fmt.Errorf("start: open %s: %w", fifo, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte{'G'}); err != nil {
		return fmt.Errorf("start: write %s: %w", fifo, err)
	}
	if err := readerLeft(ctx, fd); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	o := outcomeOf(page)
	switch {
	case o.errno != 0:
		return &StageError{Step: o.step, Errno: o.errno, What: o.what}
	case o.step == int(at):
		return &StageError{Step: o.step, Op: plan.OpReady, Errno: syscall.ECANCELED, What: "process was killed before its program ran"}
	}
	return nil
}

// readerLeft waits until the other end of the fifo fd is closed.
func readerLeft(ctx context.Context, fd int) error {
	for ctx.Err() == nil {
		p := []unix.PollFd{{Fd: int32(fd)}} // POLLERR comes unasked
		n, err := unix.Poll(p, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
		if n > 0 {
			return nil
		}
	}
	return context.Cause(ctx)
}
