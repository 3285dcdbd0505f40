// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"foundry/runtime/spawn"
)

// boot replaces this process by the spawner, which starts `foundryd serve`.
// Descriptor 3 is the ready pipe, on which whoever waits for us reads "ok" or
// what went wrong.
func boot(f *flags) error {
	ready := os.NewFile(3, "ready pipe")
	err := errors.New("start server: no -root, -socket or -ttrpc")
	if f.root != "" && f.socket != "" && f.ttrpc != "" {
		err = become(f, ready)
	}
	if ready != nil {
		fmt.Fprintln(ready, err) // the launcher quotes it
	}
	return err
}

func become(f *flags, ready *os.File) error {
	if err := os.MkdirAll(f.root, 0o700); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	removeOldSlots(f.root)
	gen := strconv.FormatInt(time.Now().UnixNano(), 10)
	server := []string{
		self, "serve", "-root", f.root, "-socket", f.socket, "-address", f.address, "-ttrpc", f.ttrpc,
		"-publish", f.publish, "-generation", gen,
	}
	if f.debug {
		server = append(server, "-debug")
	}
	return spawn.Boot(spawn.BootConfig{Slots: slots(f.root, gen), Server: server, Ready: ready})
}

// slots is the file in which the spawner of that generation records exits.
func slots(root, gen string) string { return filepath.Join(root, "slots-"+gen) }

// removeOldSlots removes the records of spawners that are dead, unless there
// is a journal left whose `delete` may yet read them.
func removeOldSlots(root string) {
	if left, err := filepath.Glob(filepath.Join(root, "c", "*", "*")); err != nil || len(left) > 0 {
		return
	}
	old, _ := filepath.Glob(slots(root, "*"))
	for _, path := range old {
		_ = os.Remove(path) // the next start tries again
	}
}
