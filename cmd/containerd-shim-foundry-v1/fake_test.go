// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The tests run the launcher as containerd does, as a process. The test binary,
// called foundryd or foundry-delete, is the program that it finds beside it.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "foundryd":
		os.Exit(fakeFoundryd(os.Args[1:]))
	case "foundry-delete":
		fmt.Print(strings.Join(os.Args, " "))
		return
	}
	dir, err := os.MkdirTemp("", "launcher")
	if err != nil {
		panic(err)
	}
	launcher = filepath.Join(dir, "containerd-shim-foundry-v1")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", launcher, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build the launcher: %v\n%s", err, out))
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// launcher is the program under test, built once.
var launcher string

// fakeFoundryd plays the server. Its behaviour is asked for by the file
// "behave" beside the instances; what it saw goes to files in its instance.
func fakeFoundryd(argv []string) int {
	if argv[0] != "boot" {
		fmt.Printf("foundryd %s", strings.Join(argv, " "))
		return 0
	}
	f := flag.NewFlagSet("boot", flag.ExitOnError)
	root, socket := f.String("root", "", ""), f.String("socket", "", "")
	for _, other := range []string{"address", "ttrpc", "publish"} {
		f.String(other, "", "")
	}
	f.Parse(argv[1:])
	appendLine(*root+"/boots", strings.Join(argv, " "))
	os.WriteFile(*root+"/saw", []byte(surroundings()), 0o600)
	ready := os.NewFile(3, "ready")
	behave, _ := os.ReadFile(filepath.Dir(*root) + "/behave")
	switch string(behave) {
	case "refuse":
		io.WriteString(ready, "load spawner: out of paper\n")
		return 3
	case "die":
		return 3
	}
	l, err := net.Listen("unix", *socket)
	if err != nil {
		fmt.Fprintf(ready, "%v\n", err)
		return 1
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	go serveNothing(l)
	id, _ := identity("/proc/self/exe")
	os.WriteFile(*root+"/server", fmt.Appendf(nil, "pid=%d\nspawner=1\nidentity=%s\ngeneration=1\naddress=unix://%s\n", os.Getpid(), id, *socket), 0o600)
	os.Remove(*root + "/control.sock")
	control, err := net.Listen("unix", *root+"/control.sock")
	if err != nil {
		fmt.Fprintf(ready, "%v\n", err)
		return 1
	}
	io.WriteString(ready, "ok\n")
	ready.Close()
	go outlive(*root)
	for {
		c, err := control.Accept()
		if err != nil {
			return 1
		}
		line, _ := bufio.NewReader(c).ReadString('\n')
		appendLine(*root+"/control", strings.TrimSpace(line))
		if _, err := os.Stat(filepath.Dir(*root) + "/busy"); err == nil {
			io.WriteString(c, "busy\n")
			c.Close()
			continue
		}
		l.Close()
		io.WriteString(c, "ok\n")
		return 0
	}
}

func serveNothing(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

// outlive ends the fake when its test is over, however the test ended.
func outlive(root string) {
	for range time.Tick(200 * time.Millisecond) {
		if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
			os.Exit(0)
		}
	}
}

// surroundings describes what a process inherited.
func surroundings() string {
	var b strings.Builder
	cwd, _ := os.Getwd()
	stat, _ := os.ReadFile("/proc/self/stat")
	after := strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+1:]))
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	fmt.Fprintf(&b, "cwd %s\nleader %t\noom %s", cwd, after[3] == strconv.Itoa(os.Getpid()), score)
	env := os.Environ()
	sort.Strings(env)
	fmt.Fprintf(&b, "env %q\n", env)
	for fd := range 64 {
		if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && !ofGoRuntime(to) {
			fmt.Fprintf(&b, "fd %d %s\n", fd, strings.TrimRight(to, "[]0123456789"))
		}
	}
	return b.String()
}

// ofGoRuntime tells descriptors that the fake's own Go runtime opened.
func ofGoRuntime(to string) bool {
	return strings.Contains(to, "anon_inode") || strings.HasPrefix(to, "/sys/fs/cgroup/")
}

func appendLine(path, line string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}
