// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"foundry/runtime/plan"
)

// TestWireLayout compares structs by a C program that prints what the
// compiler makes of wire.h.
func TestWireLayout(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("SKIPPED: needs gcc")
	}
	structs := map[string]any{
		"msg": msg{}, "plan_header": planHeader{}, "plan_str": planStr{}, "plan_step": planStep{},
		"slot_header": slotHeader{}, "slot": slot{},
	}
	var source, want strings.Builder
	source.WriteString("#include <stdio.h>\n#include <stddef.h>\n#include \"wire.h\"\nint main(void) {\n")
	for name, value := range structs {
		typ := reflect.TypeOf(value)
		fmt.Fprintf(&source, "printf(\"%s %%zu\\n\", sizeof(struct %s));\n", name, name)
		fmt.Fprintf(&want, "%s %d\n", name, typ.Size())
		for i := range typ.NumField() {
			f := typ.Field(i)
			c := snake(f.Name)
			fmt.Fprintf(&source, "printf(\"%s.%s %%zu %%zu\\n\", offsetof(struct %s, %s), sizeof(((struct %s *)0)->%s));\n", name, c, name, c, name, c)
			fmt.Fprintf(&want, "%s.%s %d %d\n", name, c, f.Offset, f.Type.Size())
		}
	}
	source.WriteString("return 0; }\n")
	dir := t.TempDir()
	file, program := filepath.Join(dir, "layout.c"), filepath.Join(dir, "layout")
	if err := os.WriteFile(file, []byte(source.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gcc, "-Ic", "-o", program, file).CombinedOutput(); err != nil {
		t.Fatalf("compile: %v\n%s", err, out)
	}
	got, err := exec.Command(program).Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Errorf("wire.h and wire.go differ:\n--- C\n%s--- Go\n%s", got, want.String())
	}
}

// snake turns CloneFlags into clone_flags.
func snake(name string) string {
	var out strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

// enum returns the names of an enum of wire.h, from its first.
func enum(t *testing.T, prefix string) []string {
	t.Helper()
	text, err := os.ReadFile("c/wire.h")
	if err != nil {
		t.Fatal(err)
	}
	body := regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(string(text), "")
	for _, m := range regexp.MustCompile(`(?s)enum\s*\w*\s*\{(.*?)\}`).FindAllStringSubmatch(body, -1) {
		if !strings.HasPrefix(strings.TrimSpace(m[1]), prefix) {
			continue
		}
		var names []string
		for _, n := range strings.Split(m[1], ",") {
			if n = strings.TrimSpace(n); n != "" {
				names = append(names, n)
			}
		}
		return names
	}
	t.Fatalf("wire.h has no enum %s", prefix)
	return nil
}

func TestWireOps(t *testing.T) {
	names := enum(t, "OP_END")
	if len(names) != int(plan.OpCount)+1 {
		t.Fatalf("wire.h has %d ops, plan has %d", len(names)-1, plan.OpCount)
	}
	for op, name := range names[1 : len(names)-1] {
		got := strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(strings.TrimPrefix(name, "OP_")))
		if want := strings.ReplaceAll(plan.Op(op+1).String(), "-", ""); got != want {
			t.Errorf("op %d is %s in wire.h and %s in plan", op+1, name, want)
		}
	}
	if plan.FlagOptional != 64 || !strings.Contains(strings.Join(enum(t, "STEP_REC"), " "), "STEP_OPTIONAL = 64") {
		t.Error("the flags of a step differ")
	}
}

func TestWireMessages(t *testing.T) {
	want := []string{"MSG_HELLO = 1", "MSG_SPAWN", "MSG_SPAWNED", "MSG_EXITED", "MSG_ACK", "MSG_HOLD", "MSG_DROP",
		"MSG_FETCH", "MSG_HELD", "MSG_LIST", "MSG_DONE", "MSG_UPGRADE", "MSG_STOP", "MSG_ADOPT"}
	if got := enum(t, "MSG_HELLO"); !reflect.DeepEqual(got, want) || msgAdopt != len(want) {
		t.Errorf("messages: got %v, want %v", got, want)
	}
}
