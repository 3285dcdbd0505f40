// SPDX-License-Identifier: Apache-2.0

package cgroup

// Own makes, or takes as it is, a group for processes of our own: the server,
// the spawner, the helpers. Unlike Create it may be shared and does not filter
// devices.
func Own(c Config) (*Group, error) { return build(c, true) }

// Leave moves a process of our own out of the group of whoever started it
// (containerd's first caller) into that of c, making it if need be. Children that
// it has already stay where they are. Open(c.Info, c.Path).Remove removes the group.
func Leave(c Config, pid int) error {
	g, err := Own(c)
	if err != nil {
		return err
	}
	return g.Add(pid)
}
