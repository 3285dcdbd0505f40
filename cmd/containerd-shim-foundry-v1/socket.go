// SPDX-License-Identifier: Apache-2.0

package main

import (
	"syscall"
	"unsafe"
)

// dial connects to a unix socket of our own user. A listener with a full
// backlog is alive however slow, so the wait is bounded and the answer then is
// EAGAIN: never a reason to start a second server.
func dial(path string) (int, error) {
	if len(path) > 107 {
		return -1, failed("connect to", path, syscall.ENAMETOOLONG)
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, failed("make", "socket", err)
	}
	limit := syscall.Timeval{Sec: 5}
	_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &limit)
	_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit)
	for {
		if err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); err != syscall.EINTR {
			break
		}
	}
	if err == nil {
		// Somebody else's socket at our path would get every secret of the
		// container specs.
		peer, perr := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if perr == nil && int(peer.Uid) == syscall.Geteuid() {
			return fd, nil
		}
		err = syscall.EPERM
	}
	syscall.Close(fd)
	return -1, failed("connect to", path, err)
}

// answers is true when somebody accepts on the socket, false when certainly
// nobody does, and an error when it cannot be known.
func answers(path string) (bool, error) {
	fd, err := dial(path)
	if err == nil {
		syscall.Close(fd)
		return true, nil
	}
	switch errnoOf(err) {
	case syscall.ENOENT, syscall.ECONNREFUSED:
		return false, nil
	}
	return false, err
}

// clearDead removes a socket that nobody listens on. Anything else at that path is
// not ours to remove.
func clearDead(path string) error {
	var st syscall.Stat_t
	err := syscall.Lstat(path, &st)
	if err == syscall.ENOENT {
		return nil
	}
	if err == nil && st.Mode&syscall.S_IFMT != syscall.S_IFSOCK {
		return &failure{verb: "remove", object: path, cause: "not a socket", remedy: "move it away; the server listens there"}
	}
	if err == nil {
		err = syscall.Unlink(path)
	}
	if err != nil && err != syscall.ENOENT {
		return failed("remove", path, err)
	}
	return nil
}

// retire asks the server of another build to make room:
//
//	launcher -> control.sock   retire\n
//	server                     ok\n      and exits: the connection ends with it
//	server                     busy\n    it has containers or callers, and stays
//
// It is called under the exclusive lock, so no `start` can be handing out the
// server's address meanwhile. A server that does not answer stays too: it
// serves its containers, and those matter more than the newest build.
func retire(dir string) bool {
	fd, ok := ask(dir, "retire\n")
	if fd < 0 {
		return false
	}
	defer syscall.Close(fd)
	if !ok {
		return false
	}
	// It has closed its sockets or is about to; the end of this connection is
	// its own. It may still be delivering its last events.
	if readable(fd, patience) {
		_, _ = syscall.Read(fd, make([]byte, 8))
	}
	return true
}

// relisten asks a server whose socket somebody has removed to make it again. A
// second server on one instance would leave the containers of the first
// without an owner.
//
//	launcher -> control.sock   listen\n
//	server                     ok\n      it listens
func relisten(dir string) bool {
	fd, ok := ask(dir, "listen\n")
	if fd >= 0 {
		syscall.Close(fd)
	}
	return ok
}

// ask puts a question to the server's control socket and reports whether it said
// ok. The connection is the caller's to close; -1 is none.
func ask(dir, question string) (fd int, ok bool) {
	fd, err := dial(dir + "/control.sock")
	if err != nil {
		return -1, false
	}
	said := make([]byte, 8)
	n := 0
	if err = writeAll(fd, []byte(question)); err == nil {
		n, err = syscall.Read(fd, said)
	}
	return fd, err == nil && string(said[:n]) == "ok\n"
}

// readable waits until fd has data or has ended, at most ms milliseconds.
func readable(fd, ms int) bool {
	until := now() + int64(ms)*1e6
	for {
		left := until - now()
		if left < 0 {
			return false
		}
		p := struct {
			fd              int32
			events, revents int16
		}{fd: int32(fd), events: 1}
		t := syscall.NsecToTimespec(left)
		n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
		if errno != syscall.EINTR {
			return errno == 0 && n == 1
		}
	}
}

// now is the monotonic clock.
func now() int64 {
	var t syscall.Timespec
	const monotonic = 1
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, monotonic, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}
