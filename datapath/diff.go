// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"slices"
	"strings"
)

// Change is one write to a map or a link, made or to be made.
type Change struct {
	Verb   string // put, delete, attach, update, detach
	Object string // "fdb", or a link
	Key    string
}

func (c Change) String() string { return fmt.Sprintf("%s %s %s", c.Verb, c.Object, c.Key) }

// difference returns the keys to put and to delete, in an order that does not
// change from run to run, so that the same State makes have equal to want.
func difference[K, V comparable](have, want map[K]V) (puts, deletes []K) {
	for k, v := range want {
		if old, ok := have[k]; !ok || old != v {
			puts = append(puts, k)
		}
	}
	for k := range have {
		if _, ok := want[k]; !ok {
			deletes = append(deletes, k)
		}
	}
	byText := func(a, b K) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
	slices.SortFunc(puts, byText)
	slices.SortFunc(deletes, byText)
	return puts, deletes
}
