// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const execRows = 80

// execFeatures are what may be particular about a further process.
func execFeatures() [][]feature {
	return [][]feature{
		userFeatures(), umaskFeatures(), limitFeatures(), capabilityFeatures(), privilegeFeatures(), cwdFeatures(), envFeatures(),
		argFeatures(), terminalFeatures(), schedulingFeatures()[:3],
	}
}

// execMatrix returns rows whose probe runs beside an init that sleeps: each
// feature alone on either side, then mixed.
func execMatrix() []row {
	execs := mixed("exec", execRows, execFeatures())
	inits := append(append(userFeatures(), umaskFeatures()...), capabilityFeatures()...)
	for _, group := range [][]feature{limitFeatures(), privilegeFeatures(), envFeatures(), seccompFeatures(), networkFeatures(), nameFeatures(),
		pidFeatures(), cgroupFeatures(), rootFeatures(), schedulingFeatures(), userNamespaceFeatures()} {
		inits = append(inits, group...)
	}
	var rows []row
	for i, e := range execs {
		random := rand.New(rand.NewPCG(uint64(i), 40))
		r := row{name: e.name, exec: e.edits, console: e.console}
		for range 2 { // the first have a plain init
			if f := inits[random.IntN(len(inits))]; i >= alone(execFeatures()) && !f.fails && !r.forbids(f) {
				r.words, r.edits = append(r.words, "init:"+f.word), append(r.edits, f.edit)
			}
		}
		for _, w := range e.words {
			r.words = append(r.words, "exec:"+w)
		}
		rows = append(rows, r)
	}
	for _, f := range inits {
		if !f.fails {
			r := row{name: fmt.Sprintf("exec-%03d", len(rows)), exec: []edit{}}
			r.words, r.edits = []string{"init:" + f.word}, []edit{f.edit}
			rows = append(rows, r)
		}
	}
	return rows
}

// alone is how many rows of mixed have one feature.
func alone(groups [][]feature) (n int) {
	for _, g := range groups {
		n += len(g)
	}
	return n
}

// writeExec makes the init sleep and writes the further process.
func (x *run) writeExec(spec *specs.Spec) error {
	spec.Process.Args, spec.Process.Terminal, spec.Process.Cwd = []string{"/bin/sleep", "1000"}, false, "/"
	e := &specs.Spec{Linux: &specs.Linux{}, Process: &specs.Process{Args: []string{"sh", "/probe"}, Env: []string{"PATH=/bin"}, Cwd: "/"}}
	for _, edit := range x.row.exec {
		if err := edit(e, x); err != nil {
			return err
		}
	}
	b, err := json.Marshal(e.Process)
	return errors.Join(err, os.WriteFile(x.process(), b, 0o600))
}

// process is the file with the further process.
func (x *run) process() string { return filepath.Join(x.dir, "process.json") }
