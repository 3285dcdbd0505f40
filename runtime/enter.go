// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"os"
	"strings"

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

// groupOfInit is the group below the container's own that init is in. It must
// not be frozen: see Container.frozen.
func (c *Container) groupOfInit() (*cgroup.Group, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.init.Pid()))
	if err != nil || c.init.gone() {
		return nil, fmt.Errorf("find the group of init: %w", ErrNotRunning)
	}
	where := strings.TrimPrefix(strings.TrimSpace(string(data)), "0::")
	if !strings.HasPrefix(where, c.group.Path()+"/") {
		return nil, fmt.Errorf("init is in cgroup %s, which is not below the container's", where)
	}
	group, err := cgroup.Open(c.rt.host.cgroups, where)
	if err != nil {
		return nil, err
	}
	frozen, err := group.Frozen()
	if err == nil && frozen {
		err = fmt.Errorf("cgroup %s is %w by the container itself", where, ErrPaused)
	}
	return group, err
}
