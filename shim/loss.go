// SPDX-License-Identifier: Apache-2.0

package shim

import "foundry/shim/stdio"

// lossOf logs what was lost of a process's output.
func (c *container) lossOf(exec string) func(string, uint64) {
	return func(stream string, bytes uint64) {
		c.log.Warn("output was lost: nobody read it", "process", name(exec), "stream", stream, "bytes", bytes)
	}
}

// Loss is what nobody got of a container's output, and what is kept of it now.
// That of an exec counts until the exec is deleted.
type Loss struct {
	Namespace, ID string
	stdio.Lost
}

// Losses returns that of all containers, in the order of their names.
func (s *Service) Losses() []Loss {
	var list []Loss
	for _, c := range s.list() {
		c.mu.Lock()
		l := Loss{Namespace: c.key.Namespace, ID: c.key.ID}
		for _, p := range c.procs {
			if p.io != nil {
				lost := p.io.Lost()
				l.Stdout += lost.Stdout
				l.Stderr += lost.Stderr
			}
		}
		c.mu.Unlock()
		list = append(list, l)
	}
	return list
}
