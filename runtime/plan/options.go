// SPDX-License-Identifier: Apache-2.0

package plan

import "strings"

// mountOptions is a list of fstab-style options, sorted by who takes them.
type mountOptions struct {
	bind, rec bool
	plain     attrs    // of the mount itself
	tree      attrs    // of it and all below it: the words with an r before them
	propagate uint64   // MS_* for C of a step, 0: inherited
	super     []string // flags of the superblock, by the names that fsconfig takes
	data      []string // what is left for the file system

	remount  bool // change what is there
	copyUp   bool // of a tmpfs: fill it with what the directory held
	loop     bool // the source is a file with a file system in it
	idmapRec bool // the mount's maps hold for all below it
	iversion bool
}

// attrs is a change of mount attributes, for mount_setattr.
type attrs struct {
	set, clear uint64
	asked      bool // by a word that adds something, be it the default (relatime)
}

// option is what one word of the table does.
type option struct {
	attr  uint64 // MOUNT_ATTR_*; relatime is attrAtime with no value
	clear bool
	super string
}

// attrOptions have a form with a leading r for the whole tree.
var attrOptions = map[string]option{
	"ro": {attr: attrRdonly}, "rw": {attr: attrRdonly, clear: true},
	"nosuid": {attr: attrNosuid}, "suid": {attr: attrNosuid, clear: true},
	"nodev": {attr: attrNodev}, "dev": {attr: attrNodev, clear: true},
	"noexec": {attr: attrNoexec}, "exec": {attr: attrNoexec, clear: true},
	"nodiratime": {attr: attrNodiratime}, "diratime": {attr: attrNodiratime, clear: true},
	"nosymfollow": {attr: attrNosymfollow}, "symfollow": {attr: attrNosymfollow, clear: true},
}

// atimeOptions choose one of three; clearing one gives relatime back if it was
// the choice.
var atimeOptions = map[string]option{
	"noatime": {attr: attrNoatime}, "atime": {attr: attrNoatime, clear: true},
	"strictatime": {attr: attrStrictatime}, "nostrictatime": {attr: attrStrictatime, clear: true},
	"relatime": {}, "norelatime": {clear: true},
}

// superOptions change the superblock. A bind mount has none of its own, so
// that they mean nothing there.
var superOptions = map[string]option{
	"sync": {super: "sync"}, "async": {super: "sync", clear: true},
	"dirsync":  {super: "dirsync"},
	"lazytime": {super: "lazytime"}, "nolazytime": {super: "lazytime", clear: true},
	"mand": {super: "mand"}, "nomand": {super: "mand", clear: true},
}

var propagationOptions = map[string]uint64{
	"private": msPrivate, "rprivate": msPrivate | msRec,
	"slave": msSlave, "rslave": msSlave | msRec,
	"shared": msShared, "rshared": msShared | msRec,
	"unbindable": msUnbindable, "runbindable": msUnbindable | msRec,
}

func parseOptions(list []string) mountOptions {
	var o mountOptions
	for _, word := range list {
		o.apply(word)
	}
	return o
}

// attrs are those of a mount with nothing below it.
func (o mountOptions) attrs() uint64 { return o.plain.set&^o.tree.clear | o.tree.set }

func (o mountOptions) readonly() bool { return o.attrs()&attrRdonly != 0 }

func (o *mountOptions) apply(word string) {
	if o.applyKind(word) {
		return
	}
	if mode, found := propagationOptions[word]; found {
		o.propagate = mode
		return
	}
	if s, found := superOptions[word]; found {
		o.setSuper(s)
		return
	}
	if o.plain.apply(word) {
		return
	}
	if rest, found := strings.CutPrefix(word, "r"); found && o.tree.apply(rest) {
		return
	}
	o.data = append(o.data, splitData(word)...)
}

// applyKind takes the words that say what kind of mount it is, and those that
// are for mount(8) and its like alone.
func (o *mountOptions) applyKind(word string) bool {
	switch word {
	case "bind":
		o.bind = true
	case "rbind":
		o.bind, o.rec = true, true
	case "remount":
		o.remount = true
	case "tmpcopyup":
		o.copyUp = true
	case "loop":
		o.loop = true
	case "ridmap":
		o.idmapRec = true
	case "iversion", "noiversion":
		o.iversion = word == "iversion"
	case "", "defaults", "silent", "loud", "idmap", "auto", "noauto", "nofail", "nouser", "_netdev":
	default:
		return strings.HasPrefix(word, "X-") || strings.HasPrefix(word, "x-") || strings.HasPrefix(word, "comment=")
	}
	return true
}

func (o *mountOptions) setSuper(s option) {
	for i, have := range o.super {
		if have == s.super {
			o.super = append(o.super[:i], o.super[i+1:]...)
			break
		}
	}
	if !s.clear {
		o.super = append(o.super, s.super)
	}
}

func (a *attrs) apply(word string) bool {
	if opt, found := attrOptions[word]; found {
		if opt.clear {
			a.set &^= opt.attr
			a.clear |= opt.attr
		} else {
			a.set |= opt.attr
			a.clear &^= opt.attr
			a.asked = true
		}
		return true
	}
	opt, found := atimeOptions[word]
	switch {
	case !found:
		return false
	case !opt.clear:
		a.set = a.set&^attrAtime | opt.attr
		a.clear |= attrAtime
		a.asked = true
	case opt.attr != 0 && (a.set&attrAtime == opt.attr || a.clear&attrAtime == 0):
		a.set &^= attrAtime
		a.clear |= attrAtime
	}
	return true
}

// splitData takes apart what came as one word with commas: the kernel would,
// if it got all of them as one string. A backslash keeps a comma.
func splitData(word string) []string {
	var out []string
	start := 0
	for i := 0; i < len(word); i++ {
		switch word[i] {
		case '\\':
			i++
		case ',':
			out = append(out, word[start:i])
			start = i + 1
		}
	}
	out = append(out, word[start:])
	kept := out[:0]
	for _, s := range out {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return kept
}
