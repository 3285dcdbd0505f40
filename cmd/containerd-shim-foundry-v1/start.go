// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

// patience bounds all that a start may wait for others, in milliseconds: for
// the lock, and for a server that comes up. containerd itself sets no bound.
const patience = 20_000

// start prints the address of this containerd's server, which it starts first
// if there is none.
func start(a *args) error {
	stdin, err := readStdin()
	if err != nil {
		return err
	}
	p, err := bootstrap(stdin, a)
	if err != nil {
		return err
	}
	in, err := newInstance(p)
	if err != nil {
		return err
	}
	if err := in.point(); err != nil {
		return err
	}
	program, err := beside("foundryd")
	if err != nil {
		return err
	}
	socket, err := in.find(program)
	if err == nil && socket == "" {
		socket, err = in.replace(program, p)
	}
	if err != nil {
		return err
	}
	answer := p.answer("unix://" + socket)
	if p.legacy {
		// containerd 1.7 keeps no answer: when it starts again it looks into
		// this file, and takes the container for lost where there is none.
		if err := writeFile("address", string(answer)); err != nil {
			return err
		}
	}
	if err := writeAll(1, answer); err != nil {
		return failed("write", "answer to stdout", err)
	}
	return nil
}

// readStdin reads what containerd wrote. A terminal is somebody trying things
// out, who gave no parameters.
func readStdin() ([]byte, error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(0, &st); err != nil || st.Mode&syscall.S_IFMT == syscall.S_IFCHR {
		return nil, nil
	}
	b, err := readAll(0, 16<<20)
	if err != nil {
		return nil, failed("read", "bootstrap parameters on stdin", err)
	}
	return b, nil
}

// find looks for a live server of the build on disk, under a shared lock, so
// that nobody replaces it between our connect and our answer. It returns no
// socket when there is something to do.
func (in *instance) find(program string) (string, error) {
	fd, err := in.lock(syscall.LOCK_SH)
	if err != nil {
		return "", err
	}
	defer syscall.Close(fd)
	s := in.server()
	if s.identity != "" {
		if onDisk, err := identity(program); err == nil && onDisk != s.identity {
			return "", nil
		}
	}
	alive, err := answers(s.socket)
	if err != nil || !alive {
		return "", err
	}
	return s.socket, nil
}

// replace starts a server where there is none, or a retired one. It holds the
// lock alone; of many first starts one gets here first, the others find its
// server.
func (in *instance) replace(program string, p *params) (string, error) {
	onDisk, err := identity(program)
	if err != nil {
		return "", err
	}
	fd, err := in.lock(syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer syscall.Close(fd)
	s := in.server()
	// It is asked to retire before we connect to see whether it is there: to the
	// server, a connection is a caller that may be about to bring a container.
	if s.identity == "" || s.identity == onDisk || !retire(in.dir) {
		alive, err := answers(s.socket)
		if err != nil {
			return "", err
		}
		if alive || relisten(in.dir) {
			return s.socket, nil
		}
	}
	for _, dead := range []string{s.socket, in.socket} {
		if err := clearDead(dead); err != nil {
			return "", err
		}
	}
	return in.socket, in.boot(program, p)
}

// lock takes the instance's lock. It is polled, because a blocked flock cannot
// be given a deadline without a second thread; the first try is the rule.
func (in *instance) lock(how int) (int, error) {
	path := in.dir + "/lock"
	fd, err := open(path, syscall.O_RDWR|syscall.O_CREAT, 0o600)
	if errnoOf(err) == syscall.ENOENT {
		if err = makeDirs(in.dir); err == nil {
			fd, err = open(path, syscall.O_RDWR|syscall.O_CREAT, 0o600)
		}
	}
	if err != nil {
		return -1, err
	}
	nap := syscall.Timespec{Nsec: 1e6}
	for until := now() + 2*patience*1e6; ; {
		err = syscall.Flock(fd, how|syscall.LOCK_NB)
		if err == nil {
			return fd, nil
		}
		if (err != syscall.EAGAIN && err != syscall.EINTR) || now() > until {
			break
		}
		_ = syscall.Nanosleep(&nap, nil)
		nap.Nsec = min(nap.Nsec*3/2, 20e6)
	}
	syscall.Close(fd)
	f := failed("lock", path, err).(*failure)
	if err == syscall.EAGAIN {
		f.cause, f.remedy = "held for too long by another start", "see "+in.dir+"/log"
	}
	return -1, f
}
