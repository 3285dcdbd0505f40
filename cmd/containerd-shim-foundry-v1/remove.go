// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

// remove is `delete`. containerd calls it after every task, also after those
// that were deleted in good order, which is nearly all: then the server has left
// the answer in the bundle. For the rest there is foundry-delete, which kills
// and cleans from the files alone.
func remove(a *args) error {
	if a.bundle == "" {
		a.bundle = "."
	}
	if b, err := readFile(a.bundle + "/foundry.exit"); err == nil && len(b) > 0 {
		return respond(b)
	}
	dir, ok := pointed(a.bundle)
	if !ok {
		var err error
		if dir, err = instanceDir(a.address); err != nil {
			return err
		}
	}
	if !exists(a.bundle) && !exists(dir+"/c/"+a.namespace+"/"+a.id) {
		return respond(unknownExit()) // bundle and container are both gone
	}
	words := append(a.words(), "-root", dir)
	err := become("foundry-delete", words)
	if errnoOf(err) == syscall.ENOENT { // an upgrade has not come to it yet: foundryd did it in older builds
		err = become("foundryd", append([]string{"delete"}, words...))
	}
	return err
}

func respond(b []byte) error {
	if err := writeAll(1, b); err != nil {
		return failed("write", "answer to stdout", err)
	}
	return nil
}

// unknownExit is a DeleteResponse {2 exit_status, 3 exited_at {1 seconds}} for a
// container of which nothing is left: 255, as containerd says itself when it
// does not know, and now.
func unknownExit() []byte {
	var tv syscall.Timeval
	_ = syscall.Gettimeofday(&tv)
	at := appendVarint(nil, 1<<3|wireVarint)
	at = appendVarint(at, uint64(tv.Sec))
	out := appendVarint(nil, 2<<3|wireVarint)
	out = appendVarint(out, 255)
	return appendBytes(out, 3, string(at))
}

// become turns this process into the program beside it, with our stdio and
// little else.
func become(name string, words []string) error {
	program, err := beside(name)
	if err != nil {
		return err
	}
	closeOnExec()
	env := environment()
	if root := getenv("FOUNDRY_ROOT"); root != "" {
		env = append(env, "FOUNDRY_ROOT="+root)
	}
	return missing(program, syscall.Exec(program, append([]string{name}, words...), env))
}
