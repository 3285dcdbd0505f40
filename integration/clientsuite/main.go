// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// suiteConfig is what a run needs to know.
type suiteConfig struct {
	bin     string // directories for PATH, first the runtime under test
	cache   string // where the rewritten source and the test binary are kept
	runtime string
	expect  string // file of exceptions; empty: none are allowed
	run     string // -test.run
	log     string // the suite's whole output
}

func main() {
	var c suiteConfig
	flag.StringVar(&c.bin, "bin", "", "PATH of the suite's containerd: the runtime's and containerd's binaries, colon separated")
	flag.StringVar(&c.cache, "cache", "", "directory for the rewritten suite and its binary")
	flag.StringVar(&c.runtime, "runtime", "io.containerd.foundry.v1", "TEST_RUNTIME")
	flag.StringVar(&c.expect, "expect", "", "file that names the tests which may fail or be skipped, with reasons")
	flag.StringVar(&c.run, "run", ".", "-test.run of the suite")
	flag.StringVar(&c.log, "log", "", "file for the suite's whole output")
	inside := flag.Bool("inside", false, "already in the suite's own namespaces")
	flag.Parse()
	run := outside
	if *inside {
		run = insideNamespaces
	}
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "clientsuite:", err)
		os.Exit(1)
	}
}

// outside builds what needs the module cache, then starts this program again in
// new mount, network and pid namespaces: whatever the suite leaves running ends
// with this run.
func outside(c suiteConfig) error {
	if _, err := buildSuite(c.cache); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", append([]string{"-inside"}, os.Args[1:]...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	return cmd.Run()
}

// hidden are the directories that the suite, its containerd and the runtime
// write to: each becomes an empty tmpfs of this run's own.
var hidden = []string{"/run", "/var/lib", "/tmp"}

func insideNamespaces(c suiteConfig) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	suite := filepath.Join(c.cache, suiteBinary)
	for _, dir := range hidden {
		if within(dir, c.cache) || within(dir, c.expect) || within(dir, c.log) {
			continue
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=1777"); err != nil {
			return fmt.Errorf("hide %s: %w", dir, err)
		}
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	stop, err := serveRegistry(registryAddress)
	if err != nil {
		return err
	}
	defer stop()
	return runSuite(c, suite)
}

func within(dir, path string) bool {
	abs, err := filepath.Abs(path)
	if path == "" || err != nil {
		return false
	}
	rel, err := filepath.Rel(dir, abs)
	return err == nil && filepath.IsLocal(rel)
}

func loopbackUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer syscall.Close(fd)
	return setLinkUp(fd, "lo")
}
