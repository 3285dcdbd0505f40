// SPDX-License-Identifier: Apache-2.0

package main

// args is the command line that every containerd since 1.2 gives a shim.
type args struct {
	namespace, id, address, publish, bundle string
	debug, version, info                    bool
	action                                  string
}

// parseArgs reads flags as package flag does: one dash or two, a value after
// "=" or as the next word, and nothing but the action after them. A flag that
// a later containerd may add is refused by name rather than guessed at: whether
// it takes a value cannot be known.
func parseArgs(argv []string) (*args, error) {
	a := &args{}
	texts := map[string]*string{"namespace": &a.namespace, "id": &a.id, "address": &a.address,
		"publish-binary": &a.publish, "bundle": &a.bundle}
	bools := map[string]*bool{"debug": &a.debug, "v": &a.version, "version": &a.version, "info": &a.info}
	for len(argv) > 0 {
		name, value, hasValue, isFlag := splitFlag(argv[0])
		if !isFlag {
			a.action, argv = argv[0], nil
			break
		}
		argv = argv[1:]
		switch text, flag := texts[name], bools[name]; {
		case flag != nil:
			*flag = value != "false" && value != "0"
		case text == nil:
			return nil, &failure{verb: "read", object: "command line", cause: "no flag -" + name,
				remedy: "is containerd newer than this Foundry?"}
		case hasValue:
			*text = value
		case len(argv) == 0:
			return nil, &failure{verb: "read", object: "command line", cause: "flag -" + name + " needs a value"}
		default:
			*text, argv = argv[0], argv[1:]
		}
	}
	return a, nil
}

func splitFlag(word string) (name, value string, hasValue, isFlag bool) {
	if len(word) < 2 || word[0] != '-' {
		return "", "", false, false
	}
	name = word[1:]
	if name[0] == '-' {
		name = name[1:]
	}
	for i := 0; i < len(name); i++ {
		if name[i] == '=' {
			return name[:i], name[i+1:], true, true
		}
	}
	return name, "", false, true
}

// words gives the arguments back, for foundry-delete, which takes the same flags.
func (a *args) words() []string {
	w := []string{"-namespace", a.namespace, "-id", a.id, "-address", a.address,
		"-publish-binary", a.publish, "-bundle", a.bundle}
	if a.debug {
		w = append(w, "-debug")
	}
	return w
}
