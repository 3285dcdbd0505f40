// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// kind is what a stream's URI names.
type kind int

const (
	kindNull     kind = iota // "": nothing, /dev/null for the process
	kindPath                 // a plain path or fifo://: a fifo of the client, or a file that exists
	kindFile                 // file://: made when absent, appended to
	kindBinary               // binary://: a log program, ready when it closes descriptor 5
	kindBinaryV2             // binary-v2://: ready when it writes a byte there
)

// target is a parsed URI.
type target struct {
	kind kind
	path string
	args []string // of a log program: name, value, name, value, in order
}

// program reports whether t names a log program.
func (t target) program() bool { return t.kind == kindBinary || t.kind == kindBinaryV2 }

// parseURI parses the stdin, stdout or stderr of a request. A plain path is
// taken as it is, whatever characters it has.
func parseURI(s string) (target, error) {
	if s == "" {
		return target{}, nil
	}
	if s[0] == '/' {
		if strings.IndexByte(s, 0) >= 0 {
			return target{}, fmt.Errorf("parse %q: NUL in path", s)
		}
		return target{kind: kindPath, path: s}, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return target{}, err // already "parse URI: cause"
	}
	t, err := fromURL(u)
	if err != nil {
		return target{}, fmt.Errorf("parse %q: %w", s, err)
	}
	return t, nil
}

func fromURL(u *url.URL) (target, error) {
	t := target{path: u.Path}
	switch u.Scheme {
	case "fifo":
		t.kind = kindPath
	case "file":
		t.kind = kindFile
	case "binary":
		t.kind = kindBinary
	case "binary-v2":
		t.kind = kindBinaryV2
	case "":
		return target{}, errors.New("not an absolute path")
	default:
		return target{}, fmt.Errorf("scheme %s not supported (use fifo, file, binary, binary-v2 or a path)", u.Scheme)
	}
	switch {
	case u.Host != "" || u.User != nil:
		return target{}, fmt.Errorf("host %q before the path (write %s:///path)", u.Host, u.Scheme)
	case len(u.Path) < 2 || u.Path[0] != '/':
		return target{}, errors.New("no absolute path")
	case strings.IndexByte(u.Path, 0) >= 0:
		return target{}, errors.New("NUL in path")
	}
	if !t.program() {
		return t, nil
	}
	var err error
	t.args, err = queryArgs(u.RawQuery)
	return t, err
}

// queryArgs turns a query into arguments. Unlike url.ParseQuery it keeps the
// order; like containerd's runc shim it takes the first of several values of a name.
func queryArgs(query string) ([]string, error) {
	var args []string
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return nil, err
		}
		value, err = url.QueryUnescape(value)
		if err != nil {
			return nil, err
		}
		if strings.IndexByte(name+value, 0) >= 0 {
			return nil, errors.New("NUL in query")
		}
		if !seen[name] {
			seen[name] = true
			args = append(args, name, value)
		}
	}
	return args, nil
}
