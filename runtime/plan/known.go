// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"maps"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Known is the vocabulary of plans, each list sorted: what a configuration may
// ask for. Whether the kernel has it is another question.
type Known struct {
	MountOptions []string // without those that a file system takes as data
	Capabilities []string // in the kernel's order
	Namespaces   []string
	MemoryModes  []string
	MemoryFlags  []string
}

// Vocabulary reads the tables that plans are made by.
func Vocabulary() Known {
	k := Known{
		Namespaces:  []string{string(specs.UserNamespace)},
		MemoryModes: sorted(memoryModes),
		MemoryFlags: sorted(memoryFlags),
		MountOptions: []string{"bind", "rbind", "remount", "tmpcopyup", "loop", "idmap", "ridmap", "defaults",
			"iversion", "noiversion", "silent", "loud"},
	}
	for _, ns := range namespaces {
		k.Namespaces = append(k.Namespaces, ns.kind)
	}
	for _, name := range capNames {
		k.Capabilities = append(k.Capabilities, "CAP_"+name)
	}
	for _, table := range []map[string]option{attrOptions, atimeOptions} {
		for word := range table {
			k.MountOptions = append(k.MountOptions, word, "r"+word)
		}
	}
	k.MountOptions = append(k.MountOptions, sorted(superOptions)...)
	k.MountOptions = append(k.MountOptions, sorted(propagationOptions)...)
	slices.Sort(k.MountOptions)
	slices.Sort(k.Namespaces)
	return k
}

func sorted[K ~string, V any](table map[K]V) []string {
	var out []string
	for _, word := range slices.Sorted(maps.Keys(table)) {
		out = append(out, string(word))
	}
	return out
}
