// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// remove is for the launchers of older builds: what `delete` does is another
// program now, because containerd executes it for every container at once, and
// this one takes longer to come up. See cmd/foundry-delete.
func remove(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	program := filepath.Join(filepath.Dir(self), "foundry-delete")
	err = syscall.Exec(program, append([]string{"foundry-delete"}, args...), os.Environ())
	return fmt.Errorf("delete: %w (foundry-delete belongs beside foundryd; install all programs from the same build)",
		&os.PathError{Op: "execute", Path: program, Err: err})
}
