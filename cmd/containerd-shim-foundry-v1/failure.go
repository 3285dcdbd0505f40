// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

// failure is an error as "verb object: cause (remedy)", without the weight of
// package fmt.
type failure struct {
	verb, object, cause, remedy string
	errno                       syscall.Errno
}

func (f *failure) Error() string {
	s := f.verb + " " + f.object + ": " + f.cause
	if f.remedy != "" {
		s += " (" + f.remedy + ")"
	}
	return s
}

func (f *failure) Unwrap() error {
	if f.errno == 0 {
		return nil
	}
	return f.errno
}

// failed names the object of a failed system call. The error keeps its number,
// which errnoOf finds again.
func failed(verb, object string, err error) error {
	f := &failure{verb: verb, object: object, cause: err.Error(), errno: errnoOf(err)}
	switch f.errno {
	case syscall.EACCES, syscall.EPERM, syscall.EROFS:
		f.remedy = "Foundry runs as the user of its containerd, usually root; FOUNDRY_ROOT names another place for its state"
	case syscall.ENOSPC, syscall.EDQUOT:
		f.remedy = "free some room there, or name another place by FOUNDRY_ROOT"
	}
	return f
}

func errnoOf(err error) syscall.Errno {
	switch e := err.(type) {
	case syscall.Errno:
		return e
	case *failure:
		return e.errno
	}
	return 0
}

// quote puts a foreign word between quotes and keeps it to one line.
func quote(s string) string {
	b := []byte{'"'}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f {
			b = append(b, '?')
		} else {
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}
