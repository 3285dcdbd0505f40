// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

// ErrGone is returned once the spawner has ended or closed the connection.
var ErrGone = errors.New("the spawner is gone")

// Client is the server's end of the spawner. It is safe for use by many
// goroutines.
type Client struct {
	conn   *wireConn
	slots  *slotTable
	null   *os.File
	onExit func(Exit)
	done   chan struct{}

	mu      sync.Mutex // guards what follows
	ops     [2]uint64  // bitmap of the steps that the spawner knows
	pid     int
	seq     uint32
	waiting map[uint32]expected
	procs   map[uint64]*Process
	gone    bool
}

type reply struct {
	m     msg
	files []*os.File
}

// expected is an answer that is awaited; born is the process that it is about,
// of a Spawn.
type expected struct {
	answer chan reply
	born   *Process
}

func (r reply) err() error {
	if r.m.Err == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w", text(r.m.Text[:]), syscall.Errno(r.m.Err))
}

// NewClient greets the spawner at the other end of conn and from then on reads
// what it says in one goroutine, which calls onExit for every process that has
// ended; onExit must not block. Both files now belong to the client.
func NewClient(conn, slots *os.File, onExit func(Exit)) (*Client, error) {
	table, err := mapSlots(slots)
	if err != nil {
		return nil, fmt.Errorf("connect to spawner: %w", err)
	}
	null, err := openNull()
	if err != nil {
		return nil, fmt.Errorf("connect to spawner: %w", err)
	}
	w, err := newWireConn(conn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to spawner: %w", err), null.Close())
	}
	c := &Client{
		conn: w, slots: table, null: null, onExit: onExit, done: make(chan struct{}),
		waiting: map[uint32]expected{}, procs: map[uint64]*Process{},
	}
	go c.read()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.hello(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to spawner: %w", err), c.Close())
	}
	return c, slots.Close()
}

func (c *Client) hello(ctx context.Context) error {
	m := msg{Type: msgHello}
	m.Arg[0] = wireVersion
	m.Arg[1], m.Arg[2] = knownOps()
	r, err := c.ask(ctx, &m, nil, nil)
	if err != nil {
		return err
	}
	c.greeted(&r.m)
	if r.m.Arg[0] != wireVersion || r.m.Err != 0 {
		return fmt.Errorf("spawner %d speaks protocol %d, this server %d: they must be of one release", r.m.Pid, r.m.Arg[0], wireVersion)
	}
	return nil
}

func (c *Client) greeted(m *msg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops = [2]uint64{m.Arg[1], m.Arg[2]}
	c.pid = int(m.Pid)
}

func knownOps() (low, high uint64) {
	var ops [2]uint64
	for op := plan.OpEnd + 1; op < plan.OpCount; op++ {
		ops[op/64] |= 1 << (op % 64)
	}
	return ops[0], ops[1]
}

// missing returns an error that names the first step that the spawner lacks.
func (c *Client) missing(p *plan.Plan) error {
	c.mu.Lock()
	ops := c.ops
	c.mu.Unlock()
	for i := range p.Steps {
		op := p.Steps[i].Op
		if op >= plan.OpCount || ops[op/64]>>(op%64)&1 == 0 {
			return fmt.Errorf("step %d (%s): the running spawner does not know it and needs an upgrade: %w", i, op, unix.ENOSYS)
		}
	}
	return nil
}

// Pid is the spawner's process id.
func (c *Client) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

// Done is closed when the spawner is gone.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection. A spawner whose server has left stays until the
// last process of its slots has ended.
func (c *Client) Close() error {
	// The mapping of the slots stays: processes may still be asked about.
	return errors.Join(c.conn.close(), c.null.Close())
}

// ask sends m and waits for its answer. Of an answer that nobody waits for any
// more the reader disposes.
func (c *Client) ask(ctx context.Context, m *msg, fds []int, born *Process) (reply, error) {
	seq, answer, err := c.expect(born)
	if err != nil {
		return reply{}, err
	}
	m.Seq = seq
	if err := c.conn.send(m, fds); err != nil {
		c.forget(seq)
		return reply{}, fmt.Errorf("tell spawner: %w", err)
	}
	select {
	case r, ok := <-answer:
		if !ok {
			return reply{}, ErrGone
		}
		return r, nil
	case <-ctx.Done():
	}
	if c.forget(seq) {
		return reply{}, context.Cause(ctx)
	}
	// The answer came at the same time.
	r, ok := <-answer
	if !ok {
		return reply{}, ErrGone
	}
	return r, nil
}

func (c *Client) expect(born *Process) (uint32, chan reply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return 0, nil, ErrGone
	}
	for {
		c.seq++ // 0 is what the spawner says unasked
		if _, taken := c.waiting[c.seq]; c.seq != 0 && !taken {
			break
		}
	}
	ch := make(chan reply, 1)
	c.waiting[c.seq] = expected{answer: ch, born: born}
	return c.seq, ch, nil
}

// forget says whether the answer was still to come.
func (c *Client) forget(seq uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, waits := c.waiting[seq]
	delete(c.waiting, seq)
	return waits
}

// Ack lets the spawner forget an exit that is stored: its slot is free again.
func (c *Client) Ack(e Exit) error {
	if err := c.conn.send(&msg{Type: msgAck, Key: e.Key, Slot: e.Slot}, nil); err != nil {
		return fmt.Errorf("acknowledge exit of process %d: %w", e.Pid, err)
	}
	return nil
}
