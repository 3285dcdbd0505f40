// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"fmt"
	"math/rand/v2"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// row is one spec of the matrix.
type row struct {
	name    string
	words   []string // what is particular about it
	edits   []edit
	exec    []edit     // of the process that the probe is; nil: it is the init
	console *[2]uint16 // rows and columns of its terminal
}

// edit makes a default spec particular.
type edit func(*specs.Spec, *run) error

// feature is a particular thing that a row may have.
type feature struct {
	word    string
	edit    edit
	console *[2]uint16
	fails   bool // in both, or in runc alone: would hide what stands beside it
}

func failing(f feature) feature {
	f.fails = true
	return f
}

// plain is an edit that needs nothing of the run and cannot fail.
func plain(word string, f func(*specs.Spec)) feature {
	return feature{word: word, edit: func(s *specs.Spec, _ *run) error { f(s); return nil }}
}

func (r *row) add(f feature) {
	r.words = append(r.words, f.word)
	r.edits = append(r.edits, f.edit)
	if f.console != nil {
		r.console = f.console
	}
}

func (r *row) String() string { return r.name + ": " + strings.Join(r.words, " ") }

// apart are words that make a spec invalid together: what a namespace is
// needed for, without it.
var apart = [][2]string{
	{"ns-network", "sysctl=net"}, {"ns-network", "sysctl=slashes"}, {"ns-ipc", "sysctl=ipc"},
	{"join=", "userns="}, {"ns-", "userns="}, {"resources", "userns="},
	{"userns=", "device over file"}, {"userns=", "devices"}, // of which the host has none
	{"ns-uts", "domainname"}, {"join=uts", "domainname"}, {"join=network", "sysctl="}, {"join=ipc", "sysctl="}, // others see those
}

func (r *row) forbids(f feature) bool {
	for _, pair := range apart {
		if r.has(pair[0]) && strings.HasPrefix(f.word, pair[1]) || r.has(pair[1]) && strings.HasPrefix(f.word, pair[0]) {
			return true
		}
	}
	return false
}

// has says whether a word of the row begins with this one, or with a comma
// and this one after it. A word of an exec row says of which process it is,
// which this one may leave out.
func (r *row) has(word string) bool {
	for _, w := range r.words {
		process, bare, found := strings.Cut(w, ":")
		if !found {
			process, bare = "", w
		}
		if strings.HasPrefix(bare, word) || strings.HasSuffix(bare, ","+word) || strings.HasPrefix(process+":"+bare, word) {
			return true
		}
	}
	return false
}

// mixed returns n rows: first each feature alone, then rows that have one of
// about half of the groups, as their number decides.
func mixed(kind string, n int, groups [][]feature) []row {
	var rows []row
	for _, g := range groups {
		for _, f := range g {
			r := row{}
			r.add(f)
			rows = append(rows, r)
		}
	}
	for i := len(rows); i < n; i++ {
		random := rand.New(rand.NewPCG(uint64(i), 20))
		r := row{}
		for _, g := range groups {
			f := g[random.IntN(len(g))]
			if random.IntN(100) < 40 && !f.fails && !r.forbids(f) {
				r.add(f)
			}
		}
		rows = append(rows, r)
	}
	for i := range rows {
		rows[i].name = fmt.Sprintf("%s-%03d", kind, i)
	}
	return rows
}
