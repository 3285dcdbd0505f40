// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// meter asks the server what it has got.
type meter struct {
	job
	control conn
}

func newMeter(j job) (*meter, error) {
	c, err := dial(j.to, portControl)
	return &meter{j, c}, err
}

func (m *meter) sample() (s sample, err error) {
	if _, err := m.control.write([]byte{0}); err != nil {
		return s, fmt.Errorf("ask: %w", err)
	}
	b := make([]byte, binary.Size(s))
	for n := 0; n < len(b); {
		got, err := m.control.read(b[n:])
		if got <= 0 {
			return s, fmt.Errorf("ask: %d bytes of an answer: %w", n, err)
		}
		n += got
	}
	return s, binary.Read(bytes.NewReader(b), binary.NativeEndian, &s)
}

// measured is a Result or why there is none.
type measured struct {
	Result
	err error
}

// window waits until all is warm, and returns what the server got in the time
// that follows.
func (m *meter) window() measured {
	time.Sleep(m.warm)
	first, err := m.sample()
	if err != nil {
		return measured{err: err}
	}
	time.Sleep(m.long)
	last, err := m.sample()
	return measured{between(first, last), err}
}

func between(a, b sample) Result {
	return Result{Seconds: float64(b.Time-a.Time) / 1e9, Bits: 8 * float64(b.Bytes-a.Bytes), Count: float64(b.Datagrams - a.Datagrams),
		CPU: float64(b.Busy-a.Busy) / ticksPerSecond}
}

// stream sends on all flows. They end with the program.
func stream(j job) (Result, error) {
	m, err := newMeter(j)
	if err != nil {
		return Result{}, err
	}
	failed := make(chan measured, j.flows+1)
	for range j.flows {
		c, err := dial(j.to, portStream)
		if err != nil {
			return Result{}, err
		}
		go func() {
			for b := make([]byte, 256<<10); ; {
				if _, err := c.write(b); err != nil {
					failed <- measured{err: fmt.Errorf("write: %w", err)}
					return
				}
			}
		}()
	}
	go func() { failed <- m.window() }()
	got := <-failed
	return got.Result, got.err
}

// rr asks on one connection.
func rr(j job) (Result, error) {
	c, err := dial(j.to, portRR)
	if err != nil {
		return Result{}, err
	}
	return transactions(j, func() error { return exchange(c) })
}

// crr connects for each question, and closes after the server has.
func crr(j job) (Result, error) {
	return transactions(j, func() error {
		c, err := dial(j.to, portCRR)
		if err != nil {
			return err
		}
		if err := exchange(c); err != nil {
			return err
		}
		var b [1]byte
		if _, err := c.read(b[:]); err != nil {
			return fmt.Errorf("read the end: %w", err)
		}
		return c.close()
	})
}

func exchange(c conn) error {
	var b [1]byte
	if _, err := c.write(b[:]); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if n, err := c.read(b[:]); n != 1 {
		return fmt.Errorf("read: %d bytes: %w", n, err)
	}
	return nil
}

// transactions does one after the other and notes how long each took.
func transactions(j job, one func() error) (Result, error) {
	m, err := newMeter(j)
	if err != nil {
		return Result{}, err
	}
	for end := time.Now().Add(j.warm); time.Now().Before(end); {
		if err := one(); err != nil {
			return Result{}, err
		}
	}
	first, err := m.sample()
	if err != nil {
		return Result{}, err
	}
	took := make([]time.Duration, 0, 1<<20)
	last := time.Now()
	for end := last.Add(j.long); last.Before(end); {
		if err := one(); err != nil {
			return Result{}, err
		}
		now := time.Now()
		took = append(took, now.Sub(last))
		last = now
	}
	final, err := m.sample()
	r := between(first, final)
	r.Count = float64(len(took))
	slices.Sort(took)
	r.P50, r.P99 = microseconds(took[len(took)/2]), microseconds(took[len(took)*99/100])
	return r, err
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
