// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// normaliser makes two runs of a row comparable.
type normaliser struct {
	replace []replacement
	ns      map[string]string // target of a namespace link: whose it is
	keyring string            // name of the session's
}

type replacement struct {
	from *regexp.Regexp
	to   string
}

// text returns the lines of a probe's output.
func (n normaliser) text(out string) []string {
	var lines, mounts []string
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\r\n") // from one terminal to the next, there may be several
		kind, rest, _ := strings.Cut(line, " ")
		if kind == "mount" {
			mounts = append(mounts, rest)
			continue
		}
		if kind == "ns" {
			line = n.namespace(line)
		}
		if kind == "key" && !strings.Contains(line, n.keyring) {
			continue // another container's
		}
		line = users.ReplaceAllString(line, "$1")
		lines = append(lines, n.paths(line))
	}
	lines = ownNumber(lines)
	for _, m := range mountTable(mounts) {
		lines = append(lines, n.paths(m))
	}
	return lines
}

// ownNumber replaces the process's own number, in a pid namespace that others
// are in too.
func ownNumber(lines []string) []string {
	self := ""
	for _, l := range lines {
		if id, found := strings.CutPrefix(l, "status NSpid: "); found && id != "1" {
			self = id
		}
	}
	if self == "" {
		return lines
	}
	for i, l := range lines {
		if head, found := strings.CutSuffix(l, " "+self); found && strings.HasPrefix(l, "status NS") {
			lines[i] = head + " self"
		}
		if at := strings.Index(l, "/proc/"+self); at >= 0 {
			lines[i] = l[:at] + "/proc/SELF" + l[at+len("/proc/"+self):]
		}
	}
	return lines
}

func (n normaliser) paths(line string) string {
	for _, r := range n.replace {
		line = r.from.ReplaceAllString(line, r.to)
	}
	return line
}

func (n normaliser) namespace(line string) string {
	f := strings.Fields(line)
	if len(f) != 3 {
		return line
	}
	owner := n.ns[f[2]]
	if owner == "" {
		owner = "new"
	}
	return strings.Join([]string{f[0], f[1], owner}, " ")
}

var (
	peerGroup = regexp.MustCompile(`^(shared|master|propagate_from):\d+$`)
	users     = regexp.MustCompile(`^(key \S+) +\d+`) // of a key: a count that changes
	anonymous = regexp.MustCompile(`^0:\d+$`)
)

// mountTable takes the numbers out of a mountinfo: a mount is named by where it
// is and how many are below it at the same place, its parent likewise.
func mountTable(lines []string) []string {
	parents, places := map[string]string{}, map[string]string{}
	var out []string
	for _, l := range lines {
		f := strings.Fields(l)
		if len(f) < 10 {
			out = append(out, "mount (unreadable) "+l)
			continue
		}
		parents[f[0]], places[f[0]] = f[1], f[4]
	}
	name := func(id string) string {
		depth := 1
		for up := parents[id]; places[up] == places[id]; up = parents[up] {
			depth++
		}
		if depth > 1 {
			return fmt.Sprintf("%s#%d", places[id], depth)
		}
		return places[id]
	}
	for _, l := range lines {
		f := strings.Fields(l)
		if len(f) < 10 {
			continue
		}
		parent := "-"
		if places[f[1]] != "" {
			parent = name(f[1])
		}
		device := anonymous.ReplaceAllString(f[2], "0:*")
		rest := f[5:]
		for i, word := range rest {
			rest[i] = peerGroup.ReplaceAllString(word, "$1")
		}
		out = append(out, strings.Join(append([]string{"mount", name(f[0]), "in", parent, device, f[3]}, rest...), " "))
	}
	return out
}

// difference returns the lines that only one of two texts has, "-" for a,
// "+" for b. Lines that both have at other places are the same: kinds of lines
// say themselves what they are about.
func difference(a, b []string) []string {
	count := map[string]int{}
	for _, l := range b {
		count[l]++
	}
	var out []string
	for _, l := range a {
		if count[l]--; count[l] < 0 {
			out = append(out, "-"+l)
		}
	}
	clear(count)
	for _, l := range a {
		count[l]++
	}
	for _, l := range b {
		if count[l]--; count[l] < 0 {
			out = append(out, "+"+l)
		}
	}
	return out
}

func TestMountTable(t *testing.T) {
	got := mountTable([]string{
		"30 20 0:44 / / rw,relatime shared:7 master:1 - overlay overlay rw",
		"31 30 0:45 /x /m rw - tmpfs tmpfs rw,size=4k",
		"35 31 8:1 /a\\040b /m ro master:3 propagate_from:9 - ext4 /dev/sda1 rw",
	})
	want := []string{
		"mount / in - 0:* / rw,relatime shared master - overlay overlay rw",
		"mount /m in / 0:* /x rw - tmpfs tmpfs rw,size=4k",
		"mount /m#2 in /m 8:1 /a\\040b ro master propagate_from - ext4 /dev/sda1 rw",
	}
	if d := difference(want, got); len(d) > 0 {
		t.Errorf("differs:\n%s", strings.Join(d, "\n"))
	}
}

func TestDifference(t *testing.T) {
	got := strings.Join(difference([]string{"a", "b", "a", "c"}, []string{"c", "a", "d"}), " ")
	if want := "-b -a +d"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
