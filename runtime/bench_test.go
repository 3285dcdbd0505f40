// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"testing"
)

// BenchmarkLife is one container that runs true, from Create to Delete.
func BenchmarkLife(b *testing.B) {
	w := newWorld(b)
	for i := 0; b.Loop(); i++ {
		if err := oneOfMany(w, fmt.Sprint("life", i), 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExec is one exec of true, from Exec to its exit.
func BenchmarkExec(b *testing.B) {
	w := newWorld(b)
	box := w.start("exec", "sleep", "600")
	for b.Loop() {
		if e, _ := box.exec("true"); e.Status != 0 {
			b.Fatalf("got %+v", e)
		}
	}
}
