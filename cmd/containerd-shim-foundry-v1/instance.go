// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

// instance is one containerd, seen from one mount and one network namespace:
// all that shares a server. Two containerds on a host never meet, because
// their directories differ.
type instance struct {
	dir    string // <root>/<hash>
	socket string // the task socket, a path
}

func newInstance(p *params) (*instance, error) {
	if p.address == "" {
		return nil, &failure{verb: "read", object: "command line", cause: "no -address of containerd"}
	}
	dir, err := instanceDir(p.address)
	if err != nil {
		return nil, err
	}
	in := &instance{dir: dir, socket: dir + "/task.sock"}
	if p.socketDir != "" {
		in.socket = p.socketDir + "/foundry-" + dir[len(dir)-32:]
	}
	// 108 bytes of sockaddr_un with the final zero; containerd must dial it.
	if len(in.socket) > 107 {
		return nil, &failure{verb: "name", object: "socket " + in.socket,
			cause: "longer than the 107 bytes that a unix socket may have", remedy: "shorten FOUNDRY_ROOT or containerd's socket_dir"}
	}
	return in, nil
}

func instanceDir(address string) (string, error) {
	root := getenv("FOUNDRY_ROOT")
	if root == "" {
		root = "/run/foundry"
	}
	for len(root) > 1 && root[len(root)-1] == '/' {
		root = root[:len(root)-1]
	}
	if root[0] != '/' {
		return "", &failure{verb: "read", object: "FOUNDRY_ROOT", cause: quote(root) + " is not an absolute path"}
	}
	mnt, err := readlink("/proc/self/ns/mnt")
	if err != nil {
		return "", err
	}
	net, err := readlink("/proc/self/ns/net")
	if err != nil {
		return "", err
	}
	return root + "/" + hash128(address, mnt, net), nil
}

// point leaves the instance's directory in the bundle, our working directory.
// A later `delete` has neither stdin nor the environment that `start` had.
func (in *instance) point() error {
	return writeFile("foundry", in.dir+"\n")
}

// pointed reads what point wrote.
func pointed(bundle string) (string, bool) {
	b, err := readFile(bundle + "/foundry")
	if err != nil || len(b) < 2 || b[0] != '/' || b[len(b)-1] != '\n' {
		return "", false
	}
	return string(b[:len(b)-1]), true
}

// server is what a running server says about itself in the file of that name:
// lines of key=value.
type server struct {
	socket   string // where it listens; containerd's socket_dir may have changed since
	identity string // of the program it was started from
}

func (in *instance) server() server {
	s := server{socket: in.socket}
	b, err := readFile(in.dir + "/server")
	if err != nil {
		return s
	}
	if v := value(b, "address"); v != "" {
		s.socket = trimScheme(v)
	}
	s.identity = value(b, "identity")
	return s
}

func value(text []byte, key string) string {
	for len(text) > 0 {
		end := 0
		for end < len(text) && text[end] != '\n' {
			end++
		}
		line := string(text[:end])
		text = text[min(end+1, len(text)):]
		if len(line) > len(key) && line[:len(key)] == key && line[len(key)] == '=' {
			return line[len(key)+1:]
		}
	}
	return ""
}

func trimScheme(address string) string {
	const scheme = "unix://"
	if len(address) > len(scheme) && address[:len(scheme)] == scheme {
		return address[len(scheme):]
	}
	return address
}

// beside is the path of one of our other programs: beside the launcher, also
// when containerd reached the launcher by a symbolic link.
func beside(name string) (string, error) {
	self, err := readlink("/proc/self/exe")
	if err != nil {
		return "", err
	}
	const deleted = " (deleted)" // an upgrade replaced the launcher under our feet
	if n := len(self) - len(deleted); n > 0 && self[n:] == deleted {
		self = self[:n]
	}
	for self[len(self)-1] != '/' {
		self = self[:len(self)-1]
	}
	return self + name, nil
}

// identity tells one build of foundryd from another without reading it:
// dev:ino:size:mtime, the last in nanoseconds. The server records the same of
// the program it was started from.
func identity(path string) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return "", missing(path, err)
	}
	return number(uint64(st.Dev)) + ":" + number(st.Ino) + ":" + number(uint64(st.Size)) + ":" +
		number(uint64(st.Mtim.Nano())), nil
}

// missing says that a program of ours could not be started.
func missing(program string, err error) error {
	f := failed("start", program, err).(*failure)
	if f.errno == syscall.ENOENT {
		f.remedy = "foundryd belongs beside containerd-shim-foundry-v1; install all programs from the same build"
	}
	return f
}
