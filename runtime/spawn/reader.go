// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// read is the one goroutine that hears the spawner. It ends with the
// connection.
func (c *Client) read() {
	defer c.lost()
	for {
		var r reply
		var err error
		if r.files, err = c.conn.receive(&r.m); err != nil {
			return
		}
		c.heard(r)
	}
}

func (c *Client) heard(r reply) {
	if r.m.Type == msgExited && r.m.Seq == 0 {
		c.ended(&r.m)
		return
	}
	c.mu.Lock()
	e, waits := c.waiting[r.m.Seq]
	delete(c.waiting, r.m.Seq)
	if e.born != nil && r.m.Type == msgSpawned && r.m.Err == 0 {
		e.born.born(c.slots, r)
	}
	c.mu.Unlock()
	if waits {
		e.answer <- r // has room for it
		return
	}
	abandoned(r)
}

// abandoned disposes of an answer that came too late. A process that nobody
// knows must not live; its exit is told as usual.
func abandoned(r reply) {
	for _, f := range r.files {
		if r.m.Type == msgSpawned {
			_ = unix.PidfdSendSignal(int(f.Fd()), unix.SIGKILL, nil, 0)
		}
		f.Close()
	}
}

func (c *Client) ended(m *msg) {
	c.mu.Lock()
	p := c.procs[m.Key]
	delete(c.procs, m.Key)
	c.mu.Unlock()
	if p != nil {
		// Before anybody can acknowledge: then the slot is another's.
		p.ended(c.slots.page(m.Slot))
	}
	c.onExit(exitOf(m))
}

func exitOf(m *msg) Exit {
	return Exit{
		Key: m.Key, Slot: m.Slot, Pid: int(m.Pid), Status: int(m.Status),
		Signal: int(int32(m.Arg[1])), At: time.Unix(0, int64(m.Arg[0])),
	}
}

func (c *Client) lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	for seq, e := range c.waiting {
		close(e.answer)
		delete(c.waiting, seq)
	}
	close(c.done)
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
