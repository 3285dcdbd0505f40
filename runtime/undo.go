// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// undoStack takes back what was done, last first. Each entry is idempotent:
// absent is success. What fails stays on the stack, so that the next unwind
// tries it again.
type undoStack struct {
	steps []undoStep
	after func(name string) // called after each that succeeded; nil: nothing
}

type undoStep struct {
	name string
	undo func(context.Context) error
	// last is the step that makes the others unknown to a later cleanup (the
	// journal's removal): it is done only when all others are.
	last bool
}

func (s *undoStack) push(name string, undo func(context.Context) error) {
	s.steps = append(s.steps, undoStep{name: name, undo: undo})
}

func (s *undoStack) pushLast(name string, undo func(context.Context) error) {
	s.steps = append(s.steps, undoStep{name: name, undo: undo, last: true})
}

// unwind undoes everything it can and returns all errors joined.
func (s *undoStack) unwind(ctx context.Context) error {
	var kept []undoStep
	var errs []error
	for _, step := range slices.Backward(s.steps) {
		if step.last && len(kept) > 0 {
			kept = append(kept, step)
			continue
		}
		if err := step.undo(ctx); err != nil {
			kept = append(kept, step)
			errs = append(errs, fmt.Errorf("%s: %w", step.name, err))
		} else if s.after != nil {
			s.after("undo: " + step.name)
		}
	}
	slices.Reverse(kept)
	s.steps = kept
	return errors.Join(errs...)
}
