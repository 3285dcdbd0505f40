// SPDX-License-Identifier: Apache-2.0

package shim

import "time"

// Bounds that keep one container, or one wedged containerd, from taking the
// server down. They are far above what works in practice.
const (
	maxName       = 255      // bytes of an id or a namespace; NAME_MAX
	maxContainers = 4096     // the descriptors end first: 12 a container
	maxExecs      = 1024     // of one container, until they are deleted
	maxOptions    = 64 << 10 // bytes of TOML, whose parser takes a time quadratic in its keys
	maxRemarks    = 256      // about options; then none is logged any more
	maxQueued     = 4096     // undelivered events of one container
	maxQueuedAll  = 65536
	maxReaders    = 8 // goroutines that read statistics for operators; a cgroup that hangs keeps one

	drainTime  = 10 * time.Second // for the rest of the output at Delete; the runc shim's
	removeTime = time.Second      // for a Delete under way before Pids answers all the same
	pidsTime   = 2 * time.Second  // for the cgroup to list its processes
	killTime   = 10 * time.Second // for the rest of a container to die after its init
)
