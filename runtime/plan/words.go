// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// word names one bit.
type word struct {
	bit  uint64
	name string
}

var cloneWords = []word{
	{cloneUser, "user"}, {clonePID, "pid"}, {cloneMount, "mount"}, {cloneUTS, "uts"}, {cloneIPC, "ipc"}, {cloneNet, "network"},
	{cloneCgroup, "cgroup"}, {cloneTime, "time"},
}

var msWords = []word{
	{msBind, "bind"}, {msRemount, "remount"}, {msPrivate, "private"}, {msSlave, "slave"}, {msShared, "shared"},
	{msUnbindable, "unbindable"}, {msRec, "rec"}, {msRdonly, "ro"}, {msNosuid, "nosuid"}, {msNodev, "nodev"}, {msNoexec, "noexec"},
	{msSynchronous, "sync"}, {msMandlock, "mand"}, {msDirsync, "dirsync"}, {msNosymfollow, "nosymfollow"}, {msNoatime, "noatime"},
	{msNodiratime, "nodiratime"}, {msRelatime, "relatime"}, {msStrictatime, "strictatime"}, {msLazytime, "lazytime"},
}

var attrWords = []word{
	{attrRdonly, "ro"}, {attrNosuid, "nosuid"}, {attrNodev, "nodev"}, {attrNoexec, "noexec"}, {attrNodiratime, "nodiratime"},
	{attrNosymfollow, "nosymfollow"}, {attrAtime, ""},
}

// words prints a mask; bits without a name come as a number.
func words(mask uint64, names []word) string {
	var out []string
	for _, w := range names {
		if mask&w.bit == 0 {
			continue
		}
		mask &^= w.bit
		if w.name != "" {
			out = append(out, w.name)
		}
	}
	if mask != 0 {
		out = append(out, fmt.Sprintf("%#x", mask))
	}
	return strings.Join(out, ",")
}

// atime prints the access time of a new mount, where relatime needs no word.
func atime(set uint64) string {
	switch set & attrAtime {
	case attrNoatime:
		return "noatime"
	case attrStrictatime:
		return "strictatime"
	}
	return ""
}

// bindAtime prints what a bind mount changes of its source's.
func bindAtime(set, clear uint64) string {
	if clear&attrAtime != 0 && set&attrAtime == 0 {
		return "relatime"
	}
	return atime(set)
}

func capWords(mask uint64) string {
	if mask == 0 {
		return "none"
	}
	var out []string
	for n, name := range capNames {
		if mask&(1<<n) != 0 {
			mask &^= 1 << n
			out = append(out, strings.ToLower(name))
		}
	}
	if mask != 0 {
		out = append(out, fmt.Sprintf("%#x", mask))
	}
	return strings.Join(out, ",")
}

func groups(s string) string {
	var out []string
	for ; len(s) >= 4; s = s[4:] {
		out = append(out, fmt.Sprint(binary.LittleEndian.Uint32([]byte(s[:4]))))
	}
	return strings.Join(out, ",")
}

func owner(v uint64) string {
	return fmt.Sprintf("%d:%d", v>>32, v&0xffffffff)
}

func limit(v uint64) string {
	if v == 1<<64-1 {
		return "unlimited"
	}
	return fmt.Sprint(v)
}

func hexOrNone(v uint64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%#x", v)
}

func flagWord(flags, bit uint16, word string) string {
	if flags&bit == 0 {
		return ""
	}
	return word
}

// also prints a name only where there is something to say.
func also(name, value string) string {
	if value == "" {
		return ""
	}
	return name + "=" + value
}

func data(s string) string {
	if s == "" {
		return ""
	}
	return "data " + quote(s)
}

// quote leaves simple words alone, so that the text stays readable.
func quote(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r > '~' }) {
		return strconv.Quote(s)
	}
	return s
}

func list(s string) string {
	if s == "" {
		return "[]"
	}
	parts := strings.Split(s, "\x00")
	for i, p := range parts {
		parts[i] = quote(p)
	}
	return "[" + strings.Join(parts, " ") + "]"
}
