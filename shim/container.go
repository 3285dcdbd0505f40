// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/types"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime"
	"foundry/shim/flight"
	"foundry/shim/stdio"
	"foundry/shim/trace"
)

// container is one container of containerd, from the Create that takes its id
// to the Delete that gives it back. containerd calls Create, Wait, Start, then
// Exec, Start, Kill, State and the like in any order and from many goroutines,
// and Delete once State says stopped.
//
// What is allowed when, and what is said to whom in which order, is decided
// by [Step]. A request that takes time is a step that begins it, the runtime
// call under no lock, and a step with its outcome.
type container struct {
	key    Key
	bundle string
	mounts []*types.Mount // of the request; nil once TaskCreate is published
	from   string         // directory of the checkpoint that it is restored from, or empty
	pub    *Publisher
	log    *slog.Logger
	flight *flight.Recorder
	counts *counts
	since  time.Time   // of its Create
	span   *trace.Span // of the Create or Start under way

	cancel context.CancelFunc // ends its Create
	ready  chan struct{}      // closed when Create is through; created tells how
	gone   chan struct{}      // closed when Delete is through

	mu    sync.Mutex // guards what follows; never held while something is waited for
	state State
	procs map[string]*process // init is ""
	run   *runtime.Container  // nil until created, then it stays
	opts  options             // set with run
	inbox []news
	busy  bool // a goroutine works on the inbox

	removals int           // calls that are deleting it
	removed  chan struct{} // closed when there is none any more; nil while there is none
}

// process is what the shim holds for init or an exec besides its state.
// The container's mu guards the fields that change.
type process struct {
	id    string
	urls  streams
	done  chan struct{} // closed by the effect Wake, when last is set
	last  Proc          // how it ended; stays readable when the exec is deleted
	io    *stdio.IO     // nil until its process is made
	proc  *runtime.Process
	spec  *specs.Process // of an exec that was not started
	early earlyIO
}

// streams are the stdio of a request.
type streams struct {
	Stdin, Stdout, Stderr string
	Terminal              bool
}

// earlyIO is what was asked of an exec's stdio before there was any.
type earlyIO struct {
	width, height uint32
	closeStdin    bool
}

// news is what the spawner or the kernel tells of a container: an exit, or,
// without one, that its OOM counter has moved.
type news struct {
	exec string
	exit *runtime.Exit
}

func newContainer(k Key, s *Service) *container {
	return &container{
		key:    k,
		pub:    s.pub,
		log:    s.log.With("namespace", k.Namespace, "id", k.ID),
		flight: s.flight,
		counts: s.counts,
		since:  time.Now(),
		ready:  make(chan struct{}),
		gone:   make(chan struct{}),
		state:  State{Init: Proc{Phase: Creating}},
		procs:  map[string]*process{"": {done: make(chan struct{})}},
	}
}

// step tells the state machine of an event and does what it answers.
func (c *container) step(ev Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, effects, err := Step(c.state, ev)
	if err != nil {
		return err
	}
	c.state = next
	c.noteLocked(ev)
	for _, e := range effects {
		c.doLocked(e)
	}
	return nil
}

// doLocked carries out one effect; none of them waits. Preconditions: mu is
// held, which is what keeps the events of a container in their order.
func (c *container) doLocked(e Effect) {
	switch e.Kind {
	case Wake:
		p := c.procs[e.Exec]
		p.last = e.Proc
		close(p.done)
	case Sweep:
		go c.sweep()
	default:
		c.counts.note(e)
		topic, event := c.announcementLocked(e)
		c.pub.Publish(c.key, topic, event)
	}
}

// sweep kills what init's death has left in the container.
func (c *container) sweep() {
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	if err := c.run.KillAll(ctx, syscall.SIGKILL); err != nil {
		c.log.Error("kill the rest after init's exit", "err", err)
	}
	_ = c.step(Event{Verb: Swept})
}

// settleTime bounds how long the news of an exit waits for a client that is
// slow to read what the process wrote.
const settleTime = time.Second

// ended tells of a process's exit once its client has the output, or soon
// anyhow. A client that hears of the exit closes its fifos, read or not; with
// slower shims it has always read them by then.
func (c *container) ended(io *stdio.IO, n news) {
	if !io.HasOutput() {
		c.tell(n)
		return
	}
	go func() { // the caller reads for all containers
		ctx, cancel := context.WithTimeout(context.Background(), settleTime)
		defer cancel()
		io.Settle(ctx)
		c.tell(n)
	}()
}

// tell takes news from goroutines that must not wait, and has them worked on
// in their order by one that may.
func (c *container) tell(n news) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inbox = append(c.inbox, n)
	if !c.busy {
		c.busy = true
		go c.work()
	}
}

func (c *container) work() {
	<-c.ready
	for {
		c.mu.Lock()
		if len(c.inbox) == 0 {
			c.inbox, c.busy = nil, false
			c.mu.Unlock()
			return
		}
		n := c.inbox[0]
		c.inbox = c.inbox[1:]
		c.mu.Unlock()
		c.learn(n)
	}
}

// learn turns news into an event. The OOM counter is read before the exit is
// told of, because TaskOOM must not come after TaskExit and the kernel's own
// notice may be late.
func (c *container) learn(n news) {
	if n.exit == nil {
		kills := c.ooms()
		c.noteOOM(kills)
		_ = c.step(Event{Verb: OOM, OOMs: kills})
		return
	}
	ev := Event{Verb: Exit, Exec: n.exec, Exit: ExitStatus{Status: uint32(n.exit.Status), Signal: n.exit.Signal, At: n.exit.At}}
	if n.exec == "" || n.exit.Signal == int(syscall.SIGKILL) {
		ev.OOMs = c.ooms()
		c.noteOOM(ev.OOMs)
	}
	if err := c.step(ev); err != nil {
		c.log.Warn("exit", "process", name(n.exec), "pid", n.exit.Pid, "status", n.exit.Status, "err", err)
	}
	if err := n.exit.Ack(); err != nil {
		c.log.Warn("exit", "process", name(n.exec), "err", err)
	}
}

func (c *container) ooms() uint64 {
	if c.run == nil { // Create failed after init had died
		return 0
	}
	n, err := c.run.OOMKills()
	if err != nil {
		c.log.Debug("read OOM counter", "err", err) // no memory controller, or already deleted
	}
	return n
}

// look returns what State, Wait and the like need to know of a process.
func (c *container) look(exec string) (Proc, *process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, live := c.procLocked(exec), c.procs[exec]
	if live == nil || p.Phase == Absent {
		return p, nil, &TransitionError{Exec: exec}
	}
	return p, live, nil
}

// visible reports whether containerd may see the container: not before its
// Create has come through.
func (c *container) visible() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Init.Phase != Creating && c.state.Init.Phase != Deleted
}

// io returns the streams of a process, nil while it has none; then remember
// keeps for them what is asked.
func (c *container) io(exec string, remember func(*earlyIO)) (*stdio.IO, error) {
	_, p, err := c.look(exec)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.io == nil {
		remember(&p.early)
	}
	return p.io, nil
}
