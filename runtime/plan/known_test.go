// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"testing"
)

// TestVocabulary: none of the announced options is taken for a file system's.
func TestVocabulary(t *testing.T) {
	k := Vocabulary()
	for _, word := range k.MountOptions {
		if o := parseOptions([]string{word}); len(o.data) > 0 {
			t.Errorf("%s: announced, and passed on as data %q", word, o.data)
		}
	}
	for _, list := range [][]string{k.MountOptions, k.Namespaces, k.MemoryModes, k.MemoryFlags} {
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) || len(list) == 0 {
			t.Errorf("not sorted, not unique or empty: %q", list)
		}
	}
	for _, word := range []string{"rro", "ro", "bind", "rnosymfollow", "noatime"} {
		if !slices.Contains(k.MountOptions, word) {
			t.Errorf("%s is not announced", word)
		}
	}
}
