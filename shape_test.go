// SPDX-License-Identifier: Apache-2.0

package foundry_test

import (
	"go/ast"
	"strings"
	"testing"
)

const (
	maxFile = 400 // lines
	maxFunc = 80  // lines; CONTRIBUTING.md asks for 40
)

// TestShape: files and functions stay short enough to be read at once. One
// that must be longer says so: `// long: reason`, in the comment of the
// function, or anywhere for a file.
func TestShape(t *testing.T) {
	for _, s := range sources(t) {
		if ast.IsGenerated(s.file) {
			continue
		}
		if lines := s.set.File(s.file.FileStart).LineCount(); lines > maxFile && !long(s.file.Comments...) {
			t.Errorf("%s: %d lines, more than %d: split it by subject", s.path, lines, maxFile)
		}
		if !strings.HasPrefix(firstLine(s.file), "// SPDX-License-Identifier: Apache-2.0") {
			t.Errorf("%s: the first line is not `// SPDX-License-Identifier: Apache-2.0`", s.path)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			at := s.set.Position(f.Pos())
			if lines := s.set.Position(f.End()).Line - at.Line + 1; lines > maxFunc && !long(f.Doc) {
				t.Errorf("%s: %s has %d lines, more than %d", at, f.Name.Name, lines, maxFunc)
			}
			if f.Name.Name == "init" && f.Recv == nil {
				t.Errorf("%s: init runs in every program that links the package: call it by a name", at)
			}
		}
	}
}

func long(comments ...*ast.CommentGroup) bool {
	for _, group := range comments {
		for _, reason := range strings.Split(group.Text(), "\n") {
			if after, ok := strings.CutPrefix(reason, "long: "); ok && after != "" {
				return true
			}
		}
	}
	return false
}

func firstLine(f *ast.File) string {
	if len(f.Comments) == 0 || f.Comments[0].Pos() != f.FileStart {
		return ""
	}
	return f.Comments[0].List[0].Text
}
