// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"foundry/runtime"
)

// Errors of the shim itself, told apart with errors.Is.
var (
	errNoContainer = errors.New("container not created")
	errNoProcess   = errors.New("no such process")
	errFinished    = errors.New("process already finished")
	errTaken       = errors.New("container already exists")
	errBadRequest  = errors.New("invalid request")
	errQuota       = errors.New("quota reached")
	errNotBuilt    = errors.New("not implemented")
	errPanic       = errors.New("panic while serving the call; the log has the stack")
	errNotReady    = errors.New("process not started")
	errStopping    = errors.New("the server is stopping")
)

// kinds gives the errors that callers tell apart their kind at the API. The
// first match counts.
var kinds = []struct{ is, kind error }{
	{errNoContainer, errdefs.ErrNotFound},
	{errNoProcess, errdefs.ErrNotFound},
	{errFinished, errdefs.ErrNotFound},
	{runtime.ErrNotRunning, errdefs.ErrNotFound}, // Kill after exit: the client's suite and CRI test for this
	{runtime.ErrNotFound, errdefs.ErrNotFound},
	{errTaken, errdefs.ErrAlreadyExists},
	{runtime.ErrExists, errdefs.ErrAlreadyExists},
	{errBadRequest, errdefs.ErrInvalidArgument},
	{runtime.ErrInvalid, errdefs.ErrInvalidArgument},
	{errQuota, errdefs.ErrResourceExhausted},
	{errNotBuilt, errdefs.ErrNotImplemented},
	{runtime.ErrUnsupported, errdefs.ErrNotImplemented},
	{runtime.ErrPaused, errdefs.ErrFailedPrecondition},
	{runtime.ErrState, errdefs.ErrFailedPrecondition},
	{errNotReady, errdefs.ErrFailedPrecondition},
	{errPanic, errdefs.ErrInternal},
	{runtime.ErrSpawner, errdefs.ErrUnavailable},
	{errStopping, errdefs.ErrUnavailable},
	{context.DeadlineExceeded, context.DeadlineExceeded},
	{context.Canceled, context.Canceled},
}

// coded is an error with its kind; the text stays what it was.
type coded struct{ err, kind error }

func (e *coded) Error() string { return e.err.Error() }
func (e *coded) Unwrap() error { return e.kind }

// toWire gives err the code with which it crosses ttrpc. What has no better
// one is Unknown, as with the runc shim.
func toWire(err error) error {
	if err == nil {
		return nil
	}
	return errgrpc.ToGRPC(&coded{err: err, kind: kindOf(err)})
}

func kindOf(err error) error {
	var te *TransitionError
	if errors.As(err, &te) {
		switch {
		case te.Verb == Add && !te.Container:
			return errdefs.ErrAlreadyExists
		case !te.Container && (te.From == Absent || te.Verb == Kill && te.Finished()):
			return errdefs.ErrNotFound
		}
		return errdefs.ErrFailedPrecondition
	}
	for _, c := range kinds {
		if errors.Is(err, c.is) {
			return c.kind
		}
	}
	return errdefs.ErrUnknown
}

// badRequest says what a request lacks.
func badRequest(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errBadRequest, fmt.Sprintf(format, args...))
}

// overdue is what a caller gets whose call took too long.
func overdue(method string, limit time.Duration, cause error) error {
	if errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("%s: no result within %s: %w", method, limit, cause)
	}
	return fmt.Errorf("%s: %w", method, cause)
}
