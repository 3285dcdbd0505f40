// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"fmt"
	"strings"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// builder collects the steps of one plan. Its methods append; the first error
// stays, so that the sequence of calls in New reads like the plan itself.
type builder struct {
	spec  *specs.Spec
	facts Facts
	plan  Plan
	err   error

	users    bool   // the process will be in a user namespace
	sources  []Step // OpSource, for the mounts that are made later
	idmapped int    // mounts still to come that must have a source
}

func (b *builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// add appends a step that takes no descriptor.
func (b *builder) add(s Step) {
	s.FD = -1
	b.plan.Steps = append(b.plan.Steps, s)
}

// addFile appends a step that takes the descriptor f.
func (b *builder) addFile(f File, s Step) {
	s.FD = len(b.plan.Files)
	b.plan.Files = append(b.plan.Files, f)
	b.plan.Steps = append(b.plan.Steps, s)
}

// done checks what the wire format demands and returns the plan.
func (b *builder) done() (*Plan, error) {
	if b.err != nil {
		return nil, b.err
	}
	for i := range b.plan.Steps {
		s := &b.plan.Steps[i]
		for n, text := range s.S {
			if !binaryOperand(s.Op, n) && strings.IndexByte(text, 0) >= 0 {
				return nil, fmt.Errorf("%s: a string contains a NUL character", s)
			}
		}
	}
	return &b.plan, nil
}

// binaryOperand says which strings are lists or numbers, and may hold NULs.
func binaryOperand(op Op, n int) bool {
	switch op {
	case OpUser, OpCaps, OpSeccomp, OpScheduler, OpAffinity, OpMemPolicy:
		return n == 0
	case OpMount, OpRemount:
		return n == 3
	case OpExec, OpExecHost:
		return n <= 1
	}
	return false
}

// list joins what the wire separates by NULs. An element of its own must not
// hold one, or it would be two.
func (b *builder) list(path string, elements []string) string {
	for i, e := range elements {
		if strings.IndexByte(e, 0) >= 0 {
			b.fail(invalid(fmt.Sprintf("%s[%d]", path, i), "contains a NUL character"))
		}
	}
	return strings.Join(elements, "\x00")
}

func invalid(path, format string, args ...any) error {
	return &oci.InvalidError{Path: path, Reason: fmt.Sprintf(format, args...)}
}

func le32s(values []uint32) string {
	var out []byte
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	return string(out)
}

func le64(v uint64) string {
	return string(binary.LittleEndian.AppendUint64(nil, v))
}
