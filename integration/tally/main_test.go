// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

const stream = `go: warning: a line that is not JSON
{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"pass","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestBad","Output":"got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"TestBad"}
{"Action":"fail","Package":"p"}
{"Action":"skip","Package":"p","Test":"TestGuest/x"}
{"Action":"output","Package":"p","Test":"TestSly","Output":"no kernel today\n"}
{"Action":"skip","Package":"p","Test":"TestSly"}
{"ImportPath":"q","Action":"build-output","Output":"q.go:1: syntax error\n"}
{"ImportPath":"q","Action":"build-fail"}
{"Action":"fail","Package":"q","FailedBuild":"q"}
{"Action":"skip","Package":"r","Elapsed":0}
{"Action":"pass","Package":"s","Elapsed":1.5}
`

const wantReport = `go: warning: a line that is not JSON
FAILED p/TestBad
got 1, want 2
skipped p/TestGuest/x
FAILED p/TestSly: skipped, and nobody expects it
no kernel today
q.go:1: syntax error
FAILED q
ok s 1.5s
1 passed, 3 failed, 1 skipped
`

func TestRead(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(dir+"/skips", []byte("# of guests\np/TestGuest.* needs a guest\n"), 0o600)
	var out bytes.Buffer
	err := read(strings.NewReader(stream), &out, dir+"/counts", dir+"/skips")
	if err == nil || err.Error() != "3 failed" {
		t.Errorf("error: got %v, want 3 failed", err)
	}
	if out.String() != wantReport {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), wantReport)
	}
	b, _ := os.ReadFile(dir + "/counts")
	if want := "1 passed, 3 failed, 1 skipped\n"; string(b) != want {
		t.Errorf("counts: got %q, want %q", b, want)
	}
}

func TestSkipsNeedAReason(t *testing.T) {
	file := t.TempDir() + "/skips"
	os.WriteFile(file, []byte("p/TestX\n"), 0o600)
	if _, err := expectations(file); err == nil || !strings.Contains(err.Error(), "no reason") {
		t.Errorf("got %v, want no reason", err)
	}
}
