// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// boot starts the server and waits until it listens. The server is to live for
// months, its first caller for a millisecond, so nothing of that caller goes
// with it: a session of its own, / as working directory, /dev/null for stdio,
// PATH, where traces go and where programs are pinned for an environment, no descriptor but the ready pipe. (containerd reads
// our stdout and stderr until the last copy is closed: one that leaked into the
// server would hang the first container for ever.)
func (in *instance) boot(program string, p *params) error {
	closeOnExec()
	raiseOOMScore()
	syscall.Umask(0o022)
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_CLOEXEC); err != nil {
		return failed("make", "pipe", err)
	}
	defer syscall.Close(pipe[0])
	null, err := open("/dev/null", syscall.O_RDWR, 0)
	if err != nil {
		return err
	}
	argv := []string{"foundryd", "boot", "-root", in.dir, "-address", p.address, "-ttrpc", p.ttrpc,
		"-socket", in.socket, "-publish", p.binary}
	if p.debug {
		argv = append(argv, "-debug")
	}
	n := uintptr(null)
	pid, err := syscall.ForkExec(program, argv, &syscall.ProcAttr{
		Dir:   "/",
		Env:   environment(),
		Files: []uintptr{n, n, n, uintptr(pipe[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	syscall.Close(null)
	syscall.Close(pipe[1])
	if err != nil {
		return failed("start", program, err)
	}
	said, err := await(pipe[0])
	if err == nil && said == "ok\n" {
		return nil
	}
	// Half a server is worse than none. It leads its own session and group, so
	// this reaches all of it and nothing else.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	return in.notReady(program, pid, said, err)
}

// await reads the ready pipe up to "ok\n" or its end, within our patience.
func await(fd int) (string, error) {
	var said []byte
	buf := make([]byte, 512)
	for until := now() + patience*1e6; ; {
		if !readable(fd, int((until-now())/1e6)) {
			return string(said), syscall.ETIMEDOUT
		}
		n, err := syscall.Read(fd, buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return string(said), err
		}
		said = append(said, buf[:n]...)
		if n == 0 || string(said) == "ok\n" || len(said) > 4096 {
			return string(said), nil
		}
	}
}

// notReady says in one line why there is no server.
func (in *instance) notReady(program string, pid int, said string, err error) error {
	f := &failure{verb: "start", object: program, remedy: "see " + in.dir + "/log"}
	for len(said) > 0 && said[len(said)-1] == '\n' {
		said = said[:len(said)-1]
	}
	switch {
	case err == syscall.ETIMEDOUT:
		f.cause = "not ready after " + number(patience/1000) + " s"
	case err != nil:
		f.cause = err.Error()
	case said != "":
		line := quote(said)
		f.cause, f.remedy = line[1:len(line)-1], ""
	default:
		f.cause = "ended before it was ready"
		var ws syscall.WaitStatus
		if got, err := syscall.Wait4(pid, &ws, 0, nil); err == nil && got == pid && ws.Exited() {
			f.cause += ", exit status " + number(uint64(ws.ExitStatus()))
		}
	}
	return f
}

func environment() []string {
	path := getenv("PATH")
	if path == "" {
		path = defaultPath
	}
	return append([]string{"PATH=" + path}, places()...)
}

// places is what of containerd's environment says where traces go, where
// programs are pinned, and how large their tables are. The name of the service is not among it: containerd
// gives each shim another.
func places() (kept []string) {
	for _, v := range syscall.Environ() {
		for _, prefix := range [...]string{"OTEL_EXPORTER_OTLP_", "OTEL_TRACES_", "OTEL_RESOURCE_ATTRIBUTES=", "OTEL_SDK_DISABLED=", "FOUNDRY_BPFFS=", "FOUNDRY_MAX_FDB="} {
			if len(v) > len(prefix) && v[:len(prefix)] == prefix {
				kept = append(kept, v)
			}
		}
	}
	return kept
}

// closeOnExec marks whatever descriptors we were handed, so that only the ones
// that boot names survive. Kernels before 5.11 cannot, and there only
// descriptors that containerd itself leaked would be at stake.
func closeOnExec() {
	const sysCloseRange, flagCloexec = 436, 1 << 2
	_, _, _ = syscall.Syscall(sysCloseRange, 3, 1<<32-1, flagCloexec)
}

// raiseOOMScore makes the server go before containerd when memory ends, and
// not much before: containerd's score and one. Only raising is always allowed.
func raiseOOMScore() {
	parent, err := readFile("/proc/" + number(uint64(syscall.Getppid())) + "/oom_score_adj")
	if err != nil {
		return
	}
	own, err := readFile("/proc/self/oom_score_adj")
	if err != nil {
		return
	}
	p, ok1 := parseNumber(parent)
	o, ok2 := parseNumber(own)
	want := min(p+1, 1000)
	if !ok1 || !ok2 || want <= o {
		return
	}
	fd, err := open("/proc/self/oom_score_adj", syscall.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	text := number(uint64(max(want, -want)))
	if want < 0 {
		text = "-" + text
	}
	_ = writeAll(fd, []byte(text)) // a hint; a server with a worse score still serves
}
