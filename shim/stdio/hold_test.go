// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
)

// keeper plays the spawner, which keeps duplicates.
type keeper struct {
	mu    sync.Mutex
	files map[uint64][]*os.File
	calls []uint64 // tags dropped
}

func (k *keeper) hold(tag uint64, files ...*os.File) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range files {
		fd, err := dupOf(f)
		if err != nil {
			return err
		}
		k.files[tag] = append(k.files[tag], os.NewFile(uintptr(fd), f.Name()))
	}
	return nil
}

func (k *keeper) drop(tag uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.files[tag] {
		f.Close()
	}
	delete(k.files, tag)
	k.calls = append(k.calls, tag)
	return nil
}

func (k *keeper) dropped(tag uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Contains(k.calls, tag)
}

func TestHold(t *testing.T) {
	p := testPump(t)
	k := &keeper{files: map[uint64][]*os.File{}}
	cfg := Config{Stdin: fifo(t, "in"), Stdout: fifo(t, "out"), Stderr: fifo(t, "err"), Hold: k.hold, Drop: k.drop}
	x := testOpen(t, p, cfg)
	start(t, x)
	if len(k.files[HoldStdin]) != 2 || len(k.files[HoldStdout]) != 2 || len(k.files[HoldStderr]) != 2 {
		t.Errorf("held: got %v, want two for each stream", k.files)
	}
	in, out, _ := x.Child()
	write(t, writer(t, cfg.Stdin), "to the process")
	if err := x.CloseStdin(); err != nil {
		t.Fatal(err)
	}
	if !k.dropped(HoldStdin) {
		t.Error("CloseStdin did not drop the keeper's copy first")
	}
	if got, want := readAll(t, in), "to the process"; got != want {
		t.Errorf("stdin: got %q, want %q", got, want)
	}
	r := reader(t, cfg.Stdout)
	write(t, out, "from the process")
	x.CloseChild()
	drain(t, x)
	if got, want := readAll(t, r), "from the process"; got != want { // no end if a copy were left
		t.Errorf("stdout: got %q, want %q", got, want)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if len(k.files) != 0 {
		t.Errorf("still held: %v", k.files)
	}
}

func TestHoldFails(t *testing.T) {
	p := testPump(t)
	broken := errors.New("spawner is gone")
	x := testOpen(t, p, Config{Stdout: fifo(t, "out"), Hold: func(uint64, ...*os.File) error { return broken }})
	if err := x.Start(nil); !errors.Is(err, broken) {
		t.Errorf("Start: got %v, want %v", err, broken)
	}
}
