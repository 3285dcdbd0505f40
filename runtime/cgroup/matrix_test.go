// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// matrixRow is one thing that runc, the program, and this package both do: make
// a group with resources, or change a living one's.
type matrixRow struct {
	name   string // "create: cpu shares"
	update bool
	r      *specs.LinuxResources
}

// matrix takes each case of testdata/limits.txt as a create, and as an update
// where runc's update can say it; then combinations, as updates. On v2, which
// only an emulated guest has, what an update says is not said by a create too.
func matrix(t *testing.T, unified bool) []matrixRow {
	var rows []matrixRow
	for _, c := range limitCases(t) {
		r := c.parse(t)
		if slices.Contains(matrixDangers, c.name) {
			continue
		}
		if !updatable(r) || !unified {
			rows = append(rows, matrixRow{"create: " + c.name, false, r})
		}
		if updatable(r) {
			rows = append(rows, matrixRow{"update: " + c.name, true, c.parse(t)})
		}
	}
	for n, limit := range []int64{32 << 20, 64 << 20, 256 << 20, -1} {
		for m, swap := range []int64{0, 1, 2} {
			for k, quota := range []int64{-1, 10000, 150000, 12345} {
				r := &specs.LinuxResources{
					Memory: &specs.LinuxMemory{Limit: ptr(limit), Swap: ptr(limit * swap), Reservation: ptr(int64(1+n) << 20)},
					CPU:    &specs.LinuxCPU{Quota: ptr(quota), Period: ptr(uint64(50000 + 10000*m))},
					Pids:   &specs.LinuxPids{Limit: ptr(int64(10 + n*m*k))},
				}
				if limit < 0 {
					r.Memory.Swap = ptr(-swap)
				}
				rows = append(rows, matrixRow{fmt.Sprintf("update: memory %d, swap x%d, quota %d", limit, swap, quota), true, r})
			}
		}
	}
	return rows
}

// updatable says whether runc update takes all of r: it passes the rest over.
func updatable(r *specs.LinuxResources) bool {
	rest := *r
	rest.Memory, rest.CPU, rest.Pids, rest.Unified = nil, nil, nil, nil
	if r.BlockIO != nil && r.BlockIO.Weight != nil {
		b := *r.BlockIO
		b.Weight = nil
		rest.BlockIO = &b
	}
	text, _ := json.Marshal(rest)
	return string(text) == "{}" || string(text) == `{"blockIO":{}}`
}

// matrixDiffers are the deliberate differences, by mode and row; one that no
// longer differs fails the test. What this package and runc's current library
// agree on (TestLimitsEqualRunc) and Debian's runc 1.1 does otherwise says so.
var matrixDiffers = map[string]string{
	"v1 update: swappiness 101":                  "runc 1.1 passes swappiness over in an update; it cannot be right",
	"v1 create: cpu burst":                       "runc 1.1 does not know burst",
	"v1 update: cpu burst":                       "runc 1.1 does not know burst",
	"v1 create: cpu burst above quota":           "runc 1.1 does not know burst",
	"v1 update: cpu burst above quota":           "runc 1.1 does not know burst",
	"v1 create: cpu idle":                        "runc 1.1 does not know idle",
	"v1 update: cpu idle":                        "runc 1.1 does not know idle",
	"v1 create: cpu idle 2":                      "runc 1.1 does not know idle",
	"v1 update: cpu idle 2":                      "runc 1.1 does not know idle",
	"v1 create: pids zero":                       "runc 1.1 takes 0 for unset; the current one makes it 1",
	"v1 update: pids zero":                       "runc 1.1 takes 0 for unset; the current one makes it 1",
	"v1 create: io weight 9":                     "without BFQ runc 1.1 drops what the spec forbids",
	"v1 update: io weight 9":                     "without BFQ runc 1.1 drops what the spec forbids",
	"v1 create: kernel memory is ignored":        "runc dropped kernelTCP; the kernel still has it",
	"v1 update: kernel memory is ignored":        "runc dropped kernelTCP; the kernel still has it",
	"v1 create: kernel tcp memory":               "runc dropped kernelTCP; the kernel still has it",
	"v1 update: kernel tcp memory":               "runc dropped kernelTCP; the kernel still has it",
	"v1 create: no hierarchy":                    "runc drops it; no kernel since 5.11 can do it",
	"v1 update: no hierarchy":                    "runc drops it; no kernel since 5.11 can do it",
	"v2 update: unlimited memory, limited swap":  "runc 1.1 wants a limit on memory beside one on swap, the current one does not",
	"v2 update: cpu shares":                      "runc 1.1 converts linearly, the current one so that the defaults meet",
	"v2 update: cpu shares default":              "runc 1.1 converts linearly, the current one so that the defaults meet",
	"v2 update: cpu shares 1":                    "runc 1.1 wraps around below 2",
	"v2 update: cpu burst":                       "runc 1.1 does not know burst",
	"v2 update: cpu burst above quota":           "runc 1.1 does not know burst",
	"v2 update: cpu idle":                        "runc 1.1 does not know idle",
	"v2 update: cpu idle 2":                      "runc 1.1 does not know idle",
	"v2 update: pids zero":                       "runc 1.1 takes 0 for unset; the current one makes it 1",
	"v2 update: everything of a virtual machine": "runc 1.1 converts linearly, the current one so that the defaults meet",
	"v2 create: everything of a pod":             "runc 1.1 converts linearly, the current one so that the defaults meet",
	"v2 create: devices: bad access":             "runc 1.1 passes over an access that does not exist",
	"v2 create: io rate zero":                    "runc writes a rate of 0, which the kernel refuses; on v1 it lifts the limit, so here it does on both",
	"v2 create: huge pages":                      "runc 1.1 does not limit what is reserved",
	"v2 create: huge pages none":                 "runc 1.1 does not limit what is reserved",
}

// matrixDangers are cases that runc must not be given: they move or kill
// processes of the host's.
var matrixDangers = []string{"unified members", "unified kill"}

// TestMatrixEqualsRunc compares the files of groups that runc made and changed
// with those of ours.
func TestMatrixEqualsRunc(t *testing.T) {
	info := hostInfo(t)
	if info.Unified && !slices.Contains(info.Hierarchies[0].Controllers, "cpuset") {
		t.Skip("Debian's runc does not run under user-mode Linux")
	}
	m := newMatrixRun(t, info)
	rows := matrix(t, info.Unified)
	unused := map[string]bool{}
	for name := range matrixDiffers {
		if strings.HasPrefix(name, m.mode) {
			unused[name] = true
		}
	}
	for _, row := range rows {
		difference := m.compare(t, row)
		key := m.mode + " " + row.name
		switch {
		case difference != "" && matrixDiffers[key] == "":
			t.Errorf("%s: %s", key, difference)
		case difference != "":
			delete(unused, key)
		}
	}
	for name := range unused {
		t.Errorf("%s is no difference any more", name)
	}
	t.Logf("%d rows, %d differences on purpose", len(rows), len(matrixDiffers))
	if len(rows) < 150 {
		t.Errorf("only %d rows", len(rows))
	}
}

// matrixRun holds the pair of groups that is changed.
type matrixRun struct {
	info         Info
	mode         string // "v1" or "v2"
	dir, base    string
	ours, theirs *Group
}

func newMatrixRun(t *testing.T, info Info) *matrixRun {
	if _, err := exec.LookPath("runc"); err != nil {
		t.Fatal("needs runc: make setup")
	}
	m := &matrixRun{info: info, mode: "v1", dir: t.TempDir(), base: groupPath(t, info)}
	if info.Unified {
		m.mode = "v2"
	}
	top, err := Own(Config{Info: info, Path: m.base})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.drop(t)
		if err := top.Remove(); err != nil {
			t.Error(err)
		}
	})
	for _, d := range []string{"bin", "proc"} {
		if err := os.MkdirAll(filepath.Join(m.dir, "rootfs", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile("/bin/busybox")
	if err == nil {
		err = os.WriteFile(filepath.Join(m.dir, "rootfs/bin/sleep"), program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// compare does row both ways and says what differs.
func (m *matrixRun) compare(t *testing.T, row matrixRow) string {
	t.Helper()
	var ourErr, theirErr error
	fresh := !row.update || m.ours == nil || len(row.r.Unified) > 0
	if fresh {
		m.drop(t)
		first := row.r
		if row.update {
			first = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(100))}}
		}
		ourErr, theirErr = m.create(t, first)
	}
	if row.update {
		if ourErr != nil || theirErr != nil {
			t.Fatalf("%s: make the groups: %v, %v", row.name, ourErr, theirErr)
		}
		text, err := json.Marshal(row.r)
		if err != nil {
			t.Fatal(err)
		}
		ourErr, theirErr = m.ours.Update(row.r), m.runc(text, "update", "-r", "-", "theirs")
	}
	difference := ""
	switch {
	case (ourErr == nil) != (theirErr == nil):
		difference = fmt.Sprintf("error %v, want like %v", ourErr, theirErr)
	case ourErr == nil:
		difference = differenceOf(limitsOf(m.ours), limitsOf(m.theirs))
	}
	// What failed is undone here and half done there; a limit by unified stays in
	// runc's own record and comes back with each later update.
	if difference != "" || ourErr != nil || theirErr != nil || len(row.r.Unified) > 0 {
		m.drop(t)
	}
	return difference
}

func differenceOf(got, want map[string]string) string {
	var all []string
	for _, f := range sortedKeys(want) {
		if got[f] != want[f] {
			all = append(all, fmt.Sprintf("%s = %q, want %q", f, got[f], want[f]))
		}
	}
	return strings.Join(all, "; ")
}

func (m *matrixRun) create(t *testing.T, r *specs.LinuxResources) (ourErr, theirErr error) {
	t.Helper()
	m.ours, ourErr = Create(Config{Info: m.info, Path: m.base + "/ours", Resources: r})
	spec := &specs.Spec{
		Version: "1.0.2", Root: &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Args: []string{"/bin/sleep", "1000"}, Cwd: "/"},
		Mounts:  []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}},
		Linux: &specs.Linux{CgroupsPath: m.base + "/theirs", Resources: r,
			Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}}},
	}
	text, err := json.Marshal(spec)
	if err == nil {
		err = os.WriteFile(filepath.Join(m.dir, "config.json"), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.theirs = newGroup(m.info, m.base+"/theirs")
	return ourErr, m.runc(nil, "create", "-b", m.dir, "theirs")
}

func (m *matrixRun) drop(t *testing.T) {
	t.Helper()
	if m.theirs == nil {
		return
	}
	_ = m.runc(nil, "delete", "-f", "theirs") // it may not have come to be
	for _, g := range []*Group{m.ours, m.theirs} {
		if g == nil {
			continue
		}
		if err := g.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	m.ours, m.theirs = nil, nil
}

// runc runs it with its output in a file: what it starts keeps that open.
func (m *matrixRun) runc(stdin []byte, args ...string) error {
	out, err := os.CreateTemp(m.dir, "out")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := exec.Command("runc", append([]string{"--root", filepath.Join(m.dir, "state")}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), out, out
	if stdin == nil {
		cmd.Stdin = nil
	}
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("runc %s: %w: %s", args[0], err, bytes.TrimSpace(text))
	}
	return nil
}
