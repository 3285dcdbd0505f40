// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"foundry/runtime/oci"
)

// FuzzNew makes plans of whatever package oci lets through: none may panic,
// and each must be one that the spawner takes.
func FuzzNew(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, false, "rw;size=1", "/t")
		f.Add(text, true, "bind;X-containerd.x;rslave", "")
		f.Add(text, true, "uidmap=0:1:2;gidmap=0:1:2;lowerdir=/a:/a/b", "")
		f.Add(text, false, "rbind;loop;uidmap=0:1:2,5:6:7;gidmap=0:1:2", "/t")
	}
	f.Fuzz(func(t *testing.T, text []byte, v2 bool, options, target string) {
		spec, err := oci.Parse(text)
		if err != nil {
			return
		}
		facts := hybridFacts()
		if v2 {
			unified(&facts)
		}
		facts.RootfsMounts = append(facts.RootfsMounts, Mount{Type: "fs", Source: "/s", Target: target, Options: strings.FieldsFunc(options, func(r rune) bool { return r == ';' })})
		facts.Hooks, facts.CreateContainerHooks, facts.StartContainerHooks = v2, !v2, true
		labels(&facts)
		facts.SELinux = v2
		if spec.Linux.Seccomp != nil {
			facts.Seccomp, facts.SeccompListener = make([]byte, 8), v2
		}
		if p, err := New(spec, facts); err == nil {
			checkEncodable(t, p)
			_ = p.String()
		}
		p, err := NewExec(spec, spec.Process, facts)
		var lacking *oci.UnsupportedError // SELinux
		if errors.As(err, &lacking) {
			return
		}
		if err != nil {
			t.Fatalf("exec of the init's own process: %v", err)
		}
		checkEncodable(t, p)
		checkEncodable(t, NewHelper(Helper{Path: "/x", Join: Namespaces(spec), As: spec.Process, Facts: facts}))
	})
}
