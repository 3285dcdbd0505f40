// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"regexp"
	"slices"
	"strings"
)

// known is a difference that is meant, or that is runc's alone.
type known struct {
	word string         // of the rows: one that begins with it, "" any
	line *regexp.Regexp // "-" is runc's, "+" ours
	why  string
	race bool // in runc: it need not show
}

func expect(word, line, why string) *known {
	return &known{word: word, line: regexp.MustCompile(`^(` + line + `)$`), why: why}
}

func sometimes(word, line, why string) *known {
	k := expect(word, line, why)
	k.race = true
	return k
}

// failure is the whole of a run that did not come to its end.
const failure = "FAILS"

// knownDifferences are those that concern a version of runc, as it prints it.
func knownDifferences(version string) []*known {
	list := slices.Concat(differences(), maskDifferences(), execDifferences())
	if strings.HasPrefix(version, "runc version 1.1.") {
		return slices.Concat(list, bindDifferences(`suid|dev|exec|atime|nostrictatime|nodiratime`), oldDifferences())
	}
	return slices.Concat(list, bindDifferences(`suid|dev|exec|atime|nostrictatime|nodiratime|rw|diratime|norelatime|async|nomand`), newDifferences())
}

func differences() []*known {
	return []*known{
		expect("oom=unset", `-oom \d+|\+oom \d+`, "without a score a container of a shim has containerd's and one"),
		expect("caps=more effective", `-FAILS`, "capabilities that are not permitted are left out of the effective ones; runc lets the kernel refuse them"),
		expect("userns=", `-dev /dev/mqueue directory 1777 0:65534 0:0|\+dev /dev/mqueue directory 1777 0:0 0:0`,
			"runc makes the ipc namespace as the host's root, so that its queues have a group that is not mapped"),
		expect("userns=", `[-+]key I--Q--- perm 3f1[3b]000[08] +0 +0 keyring +_ses\.\S+: empty`,
			"the session's keyring is of the container's root, who may search it as its user; runc's is of the host's"),
		expect("caps=", `-\x1b.*WARN.*CAP_.*`, "runc says so on the terminal that the container has too"),
		sometimes("", `\+key I--Q--- perm 3f1b0000 +0 +0 keyring +_ses\.\S+: empty`, "once in some hundred runs /proc/keys does not list the ring of runc's process"),
		expect("ratime", `-FAILS`, "runc asks the kernel to clear one access time mode without setting another"),
		expect("rnostrictatime", `-FAILS`, "likewise"),
		expect("rbind type", `-FAILS`, "the type rbind is a bind, as the specification's examples have it"),
		expect("tmpcopyup fifo", `-FAILS`, "runc cannot copy a fifo: it has made none when it gives it its owner"),
		expect("runbindable,rslave", `[-+]mount /m/\d-\S+-runbindable-rslave\S* in .*`, "of two words for the propagation the last counts"),
	}
}

// execDifferences are those of a further process.
func execDifferences() []*known {
	return []*known{
		expect("exec:umask=", `[-+]status Umask: \S+`, "runc exec leaves out the umask that its process asks for"),
		expect("exec:oom=", `[-+]oom \d+`, "and its score for the OOM killer"),
		expect("exec:oom=1001", `\+FAILS`, "and so does not see that it is none"),
		expect("init:rlimits=", `[-+]limits .*`, "limits are the container's: a process that names none has those of the init, of runc it has the caller's"),
	}
}

// maskDifferences are those of what hides a path.
func maskDifferences() []*known {
	const (
		why    = "a masked file is the host's /dev/null whatever the container has, a masked directory a copy of one small tmpfs; both read-only"
		masked = `mount (/proc/\S+|/sys/\S+|/secret|/hidden(#\d)?) in \S+ \S+ `
	)
	return []*known{
		expect("", `-`+masked+`(/|/null|/BUNDLE/rootfs/dev/null) r[wo]\S*( shared| unbindable)? - \S+ \S+ r[wo]\S*`, why),
		expect("", `\+`+masked+`(/|/null) ro,nosuid,(nodev,)?noexec,relatime( shared| unbindable)? - (dev)?tmpfs (dev)?tmpfs r[wo]\S*`, why),
		expect("", `-path (/proc/\S+|/sys/\S+|/hidden) directory 1777 0:0|\+path (/proc/\S+|/sys/\S+|/hidden) directory 555 0:0`, why),
		expect("masked below file", `-FAILS`, "below a file there is nothing to hide"),
	}
}

// bindDifferences are about the attributes of binds whose source has some
// (nosuid or nodev, and noatime). The mount points are named by the words.
func bindDifferences(taking string) []*known {
	words := func(w string) string { return `[-+]mount /m/\d-r?bind-(\S+-)?(` + w + `)(-\S+)? in .*` }
	return []*known{
		expect("", words(taking), "an option that only takes away takes away just that, or sets a bit of its own; "+
			"runc takes it for nothing, or all that the source's mount has besides goes away"),
		expect("", words(`sync|dirsync|mand`), "what is a superblock's means nothing for a bind: the attributes of its source stay"),
		expect("rstrictatime,strictatime", words(`rstrictatime`), "the attribute of the tree stands for that of its first mount"),
	}
}

// oldDifferences are those of runc before 1.2, which does not know what later
// versions of the specification have.
func oldDifferences() []*known {
	const lacks = "runc 1.1 does not know it"
	return []*known{
		expect("scheduler=batch", `-sched nice 0 priority 0 policy 0|\+sched nice 5 priority 0 policy 3`, lacks),
		expect("scheduler=fifo", `\+FAILS`, "runc 1.1 does not know it; without CAP_SYS_NICE it is refused"),
		expect("ioprio", `-ionice none: prio 0|\+ionice best-effort: prio 6`, lacks),
		expect("personality", `-personality 00000000|\+personality 00000008`, lacks),
		expect("domainname", `-domainname \(none\)|\+domainname some\.domain`, lacks),
		expect("timens", `-FAILS`, lacks),
		sometimes("exec:rlimits=nofile", `[-+]limits Max open files .*`, "runc exec 1.1 gives the soft limit the value of the hard one, or does not"),
		expect("init:umask=", `[-+]status Umask: \S+`, "runc exec 1.1 has a umask of its own"),
		expect("user=huge", `-FAILS`, "runc 1.1 takes no user from 2147483648 on"),
		expect("user=root+groups", `-status Groups: 0 10|\+status Groups: 0 10 10`, "runc 1.1 names a group once"),
		expect("rootfs=shared", `-mount / in - \S+ /BUNDLE/rootfs \S+ - .*|\+mount / in - \S+ /BUNDLE/rootfs \S+ shared - .*`,
			"runc 1.1 makes the root private before it could be shared"),
		expect("rootfs=rshared", `-mount /\S* in \S+ \S+ \S+ \S+ - .*|\+mount /\S* in \S+ \S+ \S+ \S+ shared - .*`, "likewise, and what is mounted in it"),
		expect("readonly and masked", `[-+]mount /(hidden|tmp)(#\d)? in /\S* \S+ /BUNDLE/rootfs/(hidden|tmp) ro,\S+( shared)? - .*`, "where the root is shared, so are they"),
		expect("rootfs=unbindable", `-FAILS`, "runc 1.1 cannot bind the root once it is unbindable"),
		expect("", `[-+]mount \S+ in \S+ 0:\* / rw\S* - tmpfs tmpfs rw(,mode=755)?(,uid=\d+,gid=\d+)?`, "runc 1.1 changes the mode of a tmpfs that has none after it is mounted"),
		expect("tmpcopyup", `-file /m/full directory 750 .*|\+file /m/full directory 755 .*`, "runc 1.1 ignores the mode that the option asks for"),
		expect("idmap", idmapped, lacks),
		expect("ridmap", idmapped, lacks),
		expect("mappings alone", idmapped, lacks),
		expect("idmap without mappings", `\+FAILS`, lacks),
	}
}

const idmapped = `[-+]file /m/i/by regular file 644 (1000:1001|5000:5001) 0:0 2|[-+]mount /m/i in / 0:\* /owned \S+ - tmpfs tmpfs \S+`

// newDifferences are those of runc since 1.2.
func newDifferences() []*known {
	return []*known{
		expect("caps=null", `[-+]status Cap(Prm|Eff|Bnd): \S+`, "without capabilities in the specification a process has none; runc leaves it its own"),
		expect("defaults", `-FAILS`, "runc takes the word for an option of a file system, which binds have not"),
	}
}
