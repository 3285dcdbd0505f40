// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"os"

	"foundry/runtime/cgroup"
)

// entrance is how a process gets into a cgroup: born in the directory of the
// v2 tree, and by writing itself into the tasks file of each v1 hierarchy.
type entrance struct {
	dir   *os.File
	tasks []*os.File
}

// enter opens the entrance of g; the caller closes it.
func enter(g *cgroup.Group, unified bool) (entrance, error) {
	dir, err := g.Dir()
	if err != nil || unified {
		return entrance{dir: dir}, err
	}
	tasks, err := g.JoinFiles()
	if err != nil {
		closeAll([]*os.File{dir})
		return entrance{}, err
	}
	return entrance{dir: dir, tasks: tasks}, nil
}

func (e entrance) close() {
	closeAll(e.tasks)
	closeAll([]*os.File{e.dir})
}
