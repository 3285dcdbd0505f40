// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// filter brings the device rules of a living group to rules.
func (g *Group) filter(rules ruleset) error {
	if g.device != nil && g.device.equal(rules) {
		return nil
	}
	var err error
	if g.info.Unified {
		err = g.filter2(rules, false)
	} else {
		err = g.refilter1(rules)
	}
	if err == nil {
		g.device = &rules
	}
	return err
}

// firstFilter sets the rules of a group that was made just now.
func (g *Group) firstFilter(rules ruleset) error {
	var err error
	if g.info.Unified {
		err = g.filter2(rules, true)
	} else {
		err = g.filter1(rules)
	}
	if err == nil {
		g.device = &rules
	}
	return err
}

// filter1 sets the rules of a group that nobody is in: one rule that sets the
// default, which also forgets what was inherited, then the exceptions.
func (g *Group) filter1(rules ruleset) error {
	dir, err := g.devices()
	if err != nil {
		return err
	}
	if err := writeRules(dir, rules.allow, []string{"a"}); err != nil {
		return err
	}
	return writeRules(dir, !rules.allow, exceptions(rules, ruleset{}))
}

// refilter1 changes the rules under running processes: it widens before it
// narrows, so that what both rule sets allow stays allowed all the time. Only
// a change of the default cannot be done without a gap.
func (g *Group) refilter1(rules ruleset) error {
	dir, err := g.devices()
	if err != nil {
		return err
	}
	text, err := readFile(dir, "devices.list")
	if err != nil {
		return fmt.Errorf("set device rules: %w", err)
	}
	old, err := parseRules(text)
	if err != nil {
		return fmt.Errorf("set device rules: %w", err)
	}
	if old.allow || rules.allow {
		return g.filter1(rules)
	}
	if err := writeRules(dir, true, exceptions(rules, old)); err != nil {
		return errors.Join(err, writeRules(dir, false, exceptions(rules, old)))
	}
	return writeRules(dir, false, exceptions(old, rules))
}

func (g *Group) devices() (string, error) {
	if d := g.dir("devices"); d != "" {
		return d, nil
	}
	return "", errors.New("set device rules: no devices controller is mounted as cgroup v1 on this host")
}

// exceptions lists, as lines for the kernel, what is in a and not in b.
func exceptions(a, b ruleset) []string {
	var lines []string
	for _, d := range a.sorted() {
		if acc := a.except[d] &^ b.except[d]; acc != 0 {
			lines = append(lines, line(d, acc))
		}
	}
	return lines
}

func writeRules(dir string, allow bool, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	path := dir + "/devices.deny"
	if allow {
		path = dir + "/devices.allow"
	}
	fd, err := openFile(path, unix.O_WRONLY)
	if err != nil {
		return fmt.Errorf("set device rules: %w", err)
	}
	defer unix.Close(fd)
	for _, l := range lines {
		if err := writeFD(fd, path, l); err != nil {
			if errors.Is(err, unix.EPERM) && allow {
				return fmt.Errorf("set device rule %q: %w (the parent group does not allow it)", l, err)
			}
			return fmt.Errorf("set device rule %q: %w", l, err)
		}
	}
	return nil
}
