// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// runSuite runs the compiled suite and judges its results.
func runSuite(c suiteConfig, suite string) error {
	logName := cmp.Or(c.log, filepath.Join(c.cache, "suite.log"))
	log, err := os.Create(logName)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(suite, "-test.v", "-test.root", "-test.timeout=25m", "-no-criu", "-test.run="+c.run)
	cmd.Dir = filepath.Join(c.cache, "source", "integration", "client") // its testdata
	cmd.Env = []string{
		"PATH=" + c.bin + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=/tmp",
		"TEST_RUNTIME=" + c.runtime, "RUNC_FLAVOR=" + flavor(c.runtime),
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the suite: %w", err)
	}
	got := readResults(io.TeeReader(pipe, log))
	runErr := cmd.Wait()
	return judge(c, got, runErr, logName)
}

// flavor makes the suite skip the tests that need runc itself.
func flavor(runtime string) string {
	if runtime == "io.containerd.runc.v2" {
		return "runc"
	}
	return "foundry"
}

var resultLine = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+)`)

// readResults collects the outcome of every top-level test.
func readResults(r io.Reader) map[string]string {
	got := map[string]string{}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		if m := resultLine.FindStringSubmatch(s.Text()); m != nil {
			got[m[2]] = m[1]
			fmt.Printf("%s %s\n", m[1], m[2])
		}
	}
	io.Copy(io.Discard, r)
	return got
}

// judge compares the results with the list of exceptions, in both directions.
func judge(c suiteConfig, got map[string]string, runErr error, logName string) error {
	allowed, err := readExpected(c.expect)
	if err != nil {
		return err
	}
	count := map[string]int{}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(got)) {
		outcome, reason := got[name], allowed[name]
		switch {
		case outcome == "PASS" && reason != "":
			wrong = append(wrong, name+": passes now, take it off the list")
		case outcome != "PASS" && reason == "":
			wrong = append(wrong, name+": "+outcome+" and not listed")
		case outcome != "PASS":
			fmt.Printf("  allowed %s %s: %s\n", outcome, name, reason)
		}
		count[outcome]++
	}
	fmt.Printf("client suite: %d passed, %d failed, %d skipped (log: %s)\n", count["PASS"], count["FAIL"], count["SKIP"], logName)
	var exit *exec.ExitError
	switch {
	case len(got) == 0:
		return fmt.Errorf("the suite ran no test: %w", cmp.Or(runErr, errors.New("no result line")))
	case runErr != nil && !(errors.As(runErr, &exit) && count["FAIL"] > 0):
		return fmt.Errorf("the suite broke off: %w", runErr)
	case len(wrong) > 0:
		return fmt.Errorf("%d surprises:\n  %s", len(wrong), strings.Join(wrong, "\n  "))
	}
	return nil
}

// readExpected reads lines of "TestName reason"; # starts a comment.
func readExpected(name string) (map[string]string, error) {
	allowed := map[string]string{}
	if name == "" {
		return allowed, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the list of exceptions: %w", err)
	}
	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		test, reason, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("%s:%d: %s has no reason", name, n+1, test)
		}
		allowed[test] = strings.TrimSpace(reason)
	}
	return allowed, nil
}
