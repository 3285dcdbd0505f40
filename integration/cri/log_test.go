// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"foundry/integration/env"
)

func TestLogs(t *testing.T) {
	tell(t, all, story{"Lines", logLines, ""},
		story{"Reopen", logReopen, ""})
}

// logLines: a line longer than 16 KiB is cut into tagged parts.
func logLines(t *testing.T, n *node) {
	p := n.pod(t)
	c := p.run(t, nil, "/bin/sh", "-c", "echo one; echo two >&2; echo three; head -c 20000 /dev/zero | tr '\\0' x; printf end")
	if s := c.ended(t); s.ExitCode != 0 || s.Reason != "Completed" {
		t.Errorf("got exit code %d, reason %q; want 0, Completed", s.ExitCode, s.Reason)
	}
	env.Eventually(t, "the log ends", func() bool { return strings.HasSuffix(strings.TrimSpace(c.log(t)), "end") })
	var out, errs []string
	for line := range strings.Lines(c.log(t)) {
		stream, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if len(text) > 100 {
			text = fmt.Sprintf("%s and %d more", text[:2], len(text)-2)
		}
		if stream == "stdout" {
			out = append(out, text)
		} else {
			errs = append(errs, text)
		}
	}
	if got, want := fmt.Sprint(out), "[one three P: and 16384 more P: and 3619 more]"; got != want {
		t.Errorf("stdout in the log: got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(errs), "[two]"; got != want {
		t.Errorf("stderr in the log: got %s, want %s", got, want)
	}
}

// logReopen: a log that was renamed goes on in a new file, and no line is lost.
func logReopen(t *testing.T, n *node) {
	c := n.pod(t).run(t, nil, "/bin/sh", "-c", "i=0; while [ ! -e /tmp/end ]; do echo line $((i+=1)); usleep 1000; done")
	path := c.config.LogDirectory + "/" + c.name + ".log"
	env.Eventually(t, "lines", func() bool { b, _ := os.ReadFile(path); return len(b) > 1000 })
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := n.runtime.ReopenContainerLog(n.Context(t), c.id); err != nil {
		t.Fatalf("reopen log: %v", err)
	}
	env.Eventually(t, "more lines", func() bool { b, _ := os.ReadFile(path); return len(b) > 1000 })
	c.exec(t, "/bin/touch", "/tmp/end")
	c.ended(t)
	old, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for line := range strings.Lines(logText(old) + c.log(t)) {
		if i++; line != fmt.Sprintf("stdout line %d\n", i) {
			t.Fatalf("line %d: got %q", i, line)
		}
	}
}
