// SPDX-License-Identifier: Apache-2.0

// Command tally sums up test runs. It reads `go test -json` from stdin, prints
// what failed and what was skipped, and adds the counts to a file that a whole
// `make test` shares:
//
//	go test -json ./... | tally -counts FILE -skips integration/skips.txt
//	tally -counts FILE -stage lint -code $?       a stage that is no go test
//	tally -counts FILE -sum                       the last line of a run
//
// A test that nobody expects to be skipped counts as failed: a suite that skips
// itself is green for ever.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
)

func main() {
	counts := flag.String("counts", "", "file that collects the counts of all stages")
	skips := flag.String("skips", "", "file of expected skips: lines of PACKAGE/TEST-REGEXP and a reason")
	stage := flag.String("stage", "", "count one stage instead of reading stdin")
	code := flag.Int("code", 0, "how the stage ended")
	sum := flag.Bool("sum", false, "print the sum of the file")
	flag.Parse()
	var err error
	switch {
	case *sum:
		err = printSum(os.Stdout, *counts)
	case *stage != "":
		c := count{passed: 1}
		if *code != 0 {
			c = count{failed: 1}
			fmt.Printf("FAILED %s: exit status %d\n", *stage, *code)
		}
		err = c.add(*counts)
	default:
		err = read(os.Stdin, os.Stdout, *counts, *skips)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
}

// event is a line of `go test -json`.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// run is what is known of the tests read so far.
type run struct {
	count
	out      io.Writer
	expected []*regexp.Regexp
	output   map[string]*strings.Builder // of tests not yet ended
	failedIn map[string]bool             // packages with a failed test
}

func read(in io.Reader, out io.Writer, counts, skips string) error {
	expected, err := expectations(skips)
	if err != nil {
		return err
	}
	r := &run{out: out, expected: expected, output: map[string]*strings.Builder{}, failedIn: map[string]bool{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text()) // go's own words, as of a package that cannot be found
			continue
		}
		r.take(e)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read go test: %w", err)
	}
	fmt.Fprintf(out, "%s\n", r.count)
	if err := r.add(counts); err != nil {
		return err
	}
	if r.failed > 0 {
		return fmt.Errorf("%d failed", r.failed)
	}
	return nil
}

func (r *run) take(e event) {
	key := e.Package + "/" + e.Test
	switch e.Action {
	case "output", "build-output":
		if r.output[key] == nil {
			r.output[key] = &strings.Builder{}
		}
		r.output[key].WriteString(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e)
		} else {
			r.endTest(e, key)
		}
	case "build-fail":
		fmt.Fprint(r.out, r.text("/"))
	}
}

func (r *run) endTest(e event, key string) {
	switch {
	case e.Action == "pass":
		r.passed++
	case e.Action == "fail":
		r.failed++
		r.failedIn[e.Package] = true
		fmt.Fprintf(r.out, "FAILED %s\n%s", key, r.text(key))
	case r.isExpected(key):
		r.skipped++
		fmt.Fprintf(r.out, "skipped %s\n", key)
	default:
		r.failed++
		r.failedIn[e.Package] = true
		fmt.Fprintf(r.out, "FAILED %s: skipped, and nobody expects it\n%s", key, r.text(key))
	}
	delete(r.output, key)
}

// endPackage counts a package only when it failed without a test to blame: it
// does not build, or its process died.
func (r *run) endPackage(e event) {
	key := e.Package + "/"
	if e.Action == "fail" && !r.failedIn[e.Package] {
		r.failed++
		fmt.Fprintf(r.out, "FAILED %s\n%s", e.Package, r.text(key))
		for k, b := range r.output { // of the tests that it died in
			if strings.HasPrefix(k, key) && k != key {
				fmt.Fprint(r.out, b.String())
			}
		}
	}
	if e.Action == "pass" {
		fmt.Fprintf(r.out, "ok %s %s\n", e.Package, time.Duration(e.Elapsed*float64(time.Second)).Round(10*time.Millisecond))
	}
	delete(r.output, key)
}

func (r *run) text(key string) string {
	if b := r.output[key]; b != nil {
		return b.String()
	}
	return ""
}

// isExpected knows the file of expectations, and that not everybody is root.
func (r *run) isExpected(key string) bool {
	if os.Geteuid() != 0 && strings.Contains(r.text(key), "needs root") {
		return true
	}
	for _, x := range r.expected {
		if x.MatchString(key) {
			return true
		}
	}
	return false
}

func expectations(file string) ([]*regexp.Regexp, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []*regexp.Regexp
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		pattern, reason, _ := strings.Cut(line, " ")
		if strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("read %s: %q has no reason", file, pattern)
		}
		x, err := regexp.Compile("^(foundry/)?" + pattern + "$")
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		out = append(out, x)
	}
	return out, nil
}

// count is how many tests ended which way.
type count struct{ passed, failed, skipped int }

func (c count) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

func (c count) add(file string) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, c)
	return err
}

func printSum(out io.Writer, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var total count
	for line := range strings.Lines(string(b)) {
		var c count
		if _, err := fmt.Sscanf(line, "%d passed, %d failed, %d skipped", &c.passed, &c.failed, &c.skipped); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		total.passed += c.passed
		total.failed += c.failed
		total.skipped += c.skipped
	}
	fmt.Fprintln(out, total)
	if total.failed > 0 {
		os.Exit(1)
	}
	return nil
}
