// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"foundry/datapath"
)

// statusOf turns an error into what gRPC carries. It is the one place where
// codes are chosen.
func statusOf(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	s := status.New(codeOf(err), err.Error())
	var object *datapath.ObjectError
	if errors.As(err, &object) {
		info := &errdetails.ResourceInfo{ResourceType: string(object.Kind), ResourceName: object.Name, Owner: object.Owner, Description: object.Remedy}
		if detailed, err := s.WithDetails(info); err == nil {
			s = detailed
		}
	}
	return s.Err()
}

func codeOf(err error) codes.Code {
	var object *datapath.ObjectError
	adding := errors.As(err, &object) && (object.Verb == "add" || object.Verb == "set")
	switch {
	case errors.Is(err, datapath.ErrConflict):
		return codes.AlreadyExists
	case errors.Is(err, datapath.ErrInvalid):
		return codes.InvalidArgument
	case errors.Is(err, datapath.ErrNotFound) && adding, errors.Is(err, datapath.ErrInUse):
		return codes.FailedPrecondition // what is missing is not what the call is about
	case errors.Is(err, datapath.ErrNotFound):
		return codes.NotFound
	case errors.Is(err, datapath.ErrFull), errors.Is(err, datapath.ErrCompacted):
		return codes.ResourceExhausted
	case errors.Is(err, datapath.ErrClosed), errors.Is(err, os.ErrClosed):
		return codes.Unavailable
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	return codes.Internal
}

// invalid is what a request says that makes no sense.
func invalid(verb string, kind datapath.Kind, name, format string, args ...any) error {
	return &datapath.ObjectError{Verb: verb, Kind: kind, Name: name, Err: fmt.Errorf("%w: "+format, append([]any{datapath.ErrInvalid}, args...)...)}
}
