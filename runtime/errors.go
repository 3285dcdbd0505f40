// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"syscall"

	"foundry/runtime/oci"
	"foundry/runtime/plan"
	"foundry/runtime/spawn"
)

// What callers tell apart, with errors.Is.
var (
	ErrExists      = errors.New("already exists")
	ErrNotFound    = errors.New("not found")
	ErrNotRunning  = errors.New("not running")
	ErrPaused      = errors.New("paused")
	ErrState       = errors.New("wrong state") // started twice
	ErrInvalid     = errors.New("invalid")     // the spec or the request
	ErrUnsupported = errors.New("not supported")
	ErrSpawner     = errors.New("the spawner is gone")
)

// kindError adds a kind to an error without changing its text.
type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.err, e.kind} }

func withKind(kind, err error) error { return &kindError{kind: kind, err: err} }

// explain gives an error its kind and, where it is known, the remedy.
func explain(err error) error {
	var unsupported *oci.UnsupportedError
	var invalid *oci.InvalidError
	var stage *spawn.StageError
	switch {
	case errors.As(err, &unsupported):
		return withKind(ErrUnsupported, err)
	case errors.As(err, &invalid):
		return withKind(ErrInvalid, err)
	case errors.As(err, &stage):
		if r := remedy(stage.Op, stage.Errno); r != "" {
			return fmt.Errorf("%w (%s)", err, r)
		}
	}
	return err
}

// remedy says what would make a failed step of the stage work.
func remedy(op plan.Op, errno syscall.Errno) string {
	switch {
	case op == plan.OpRlimit && errno == syscall.EPERM:
		return "raising a hard limit needs CAP_SYS_RESOURCE"
	case op == plan.OpOOMScore && (errno == syscall.EACCES || errno == syscall.EPERM):
		return "a score below the server's own needs CAP_SYS_RESOURCE"
	case isMount(op) && errno == syscall.EPERM:
		return "needs CAP_SYS_ADMIN in the container's user namespace"
	case isMount(op) && errno == syscall.EACCES:
		return "the container's root user has no right to that path, or to what it lies below"
	case isMount(op) && errno == syscall.ENODEV:
		return "the kernel does not know this file system"
	case op == plan.OpSysctl && errno == syscall.ENOENT:
		return "the kernel does not have this sysctl in the container's namespaces"
	case (op == plan.OpUnshare || op == plan.OpSetns) && errno == syscall.ENOSPC:
		return "see /proc/sys/user/max_*_namespaces"
	}
	return ""
}

func isMount(op plan.Op) bool {
	switch op {
	case plan.OpPropagate, plan.OpMountHost, plan.OpRoot, plan.OpMount, plan.OpBind, plan.OpPivot, plan.OpMask, plan.OpReadonly:
		return true
	}
	return false
}
