// SPDX-License-Identifier: Apache-2.0

package main

// params is what `start` needs of containerd.runtime.bootstrap.v1.BootstrapParams:
//
//	1 instance_id   2 namespace   3 log_level   4 containerd_version
//	5 containerd_ttrpc_address    6 containerd_grpc_address
//	7 containerd_binary           8 extensions  9 socket_dir
//
// The extensions are the runtime's options; they come again with the Create
// request, so the launcher passes over them.
type params struct {
	legacy                            bool // containerd <= 2.2: answer in JSON
	debug                             bool
	ttrpc, address, binary, socketDir string
}

// bootstrap reads what containerd wrote to our stdin. Since 2.3 these are
// BootstrapParams. Before it was nothing at all, or the options as a
// google.protobuf.Any {1 type_url, 2 value}, which parses as BootstrapParams as
// well: only the id and the namespace, known from the command line, tell the
// two apart. What is neither is refused; guessing would answer a containerd in
// a form that it cannot read.
func bootstrap(stdin []byte, a *args) (*params, error) {
	p := &params{ttrpc: getenv("TTRPC_ADDRESS"), address: a.address, binary: a.publish, debug: a.debug}
	if len(stdin) == 0 {
		p.legacy = true
		return p, nil
	}
	var id, namespace string
	known := map[uint64]*string{1: &id, 2: &namespace, 5: &p.ttrpc, 6: &p.address, 7: &p.binary, 9: &p.socketDir}
	anyForm := true
	for rest := stdin; len(rest) > 0; {
		f, n := readField(rest)
		if n == 0 {
			return nil, &failure{verb: "read", object: "bootstrap parameters on stdin", cause: "not a protobuf message",
				remedy: "containerd 1.7 and newer are understood"}
		}
		if f.wire == wireBytes && known[f.number] != nil {
			*known[f.number] = string(f.bytes)
		}
		anyForm = anyForm && f.number <= 2 && f.wire == wireBytes
		rest = rest[n:]
	}
	if id == a.id && namespace == a.namespace {
		return p, nil
	}
	if anyForm && id != "" {
		p.legacy = true
		return p, nil
	}
	return nil, &failure{verb: "read", object: "bootstrap parameters on stdin",
		cause: "they are for container " + quote(id) + " in namespace " + quote(namespace) +
			", the command line is for " + quote(a.id) + " in " + quote(a.namespace)}
}

// answer is what `start` prints. New daemons get a BootstrapResult:
//
//	1 version = 3   2 address   3 protocol   6 extensions { 1 Any { 1 type_url } }
//
// The one extension says that the shim performs no mount on containerd's
// behalf. An absent one would say the same, after containerd had executed
// `-info` to be sure of it. Older daemons get JSON with version 2: 1.7 refuses
// a 3, and 2.0 to 2.2 cannot be told from it by what they send; all they lose is
// the sharing of one `start` by the containers of a pod.
func (p *params) answer(address string) []byte {
	if p.legacy {
		return []byte(`{"version":2,"address":"` + address + `","protocol":"ttrpc"}`)
	}
	none := appendBytes(nil, 1, "type.googleapis.com/containerd.types.MountCapabilities")
	extension := appendBytes(nil, 1, string(none))
	out := appendVarint(nil, 1<<3|wireVarint)
	out = appendVarint(out, 3)
	out = appendBytes(out, 2, address)
	out = appendBytes(out, 3, "ttrpc")
	return appendBytes(out, 6, string(extension))
}
