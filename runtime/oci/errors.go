// SPDX-License-Identifier: Apache-2.0

package oci

import "fmt"

// UnsupportedError says that the spec asks for something that Foundry does not
// apply, at all or on this host.
type UnsupportedError struct {
	Path string // of the property, like linux.namespaces[3].type
	What string // when only a value of it is unsupported: the value and its verb, like `"user" namespaces are`
	Why  string // cause and remedy, when it is known; empty: it may come with a later version
}

func (e *UnsupportedError) Error() string {
	text := e.Path + ": "
	if e.What != "" {
		text += e.What + " "
	}
	if e.Why == "" {
		return text + "not supported yet"
	}
	return text + "not supported: " + e.Why
}

// InvalidError says that a property contradicts the runtime specification.
type InvalidError struct {
	Path   string // of the property; empty when the text is no JSON object
	Reason string
}

func (e *InvalidError) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

func invalid(path, format string, args ...any) error {
	return &InvalidError{Path: path, Reason: fmt.Sprintf(format, args...)}
}

func unsupported(path string) error {
	return &UnsupportedError{Path: path}
}
