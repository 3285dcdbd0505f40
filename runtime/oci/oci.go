// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Spec is a container's configuration, with the types of runtime-spec 1.3.
type Spec = specs.Spec

// configFile is the name that the runtime specification fixes.
const configFile = "config.json"

// Load reads and checks the config.json of a bundle directory.
func Load(bundle string) (*Spec, error) {
	data, err := os.ReadFile(filepath.Join(bundle, configFile))
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	spec, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", configFile, err)
	}
	return spec, nil
}

// Parse decodes and checks the text of a config.json.
func Parse(data []byte) (*Spec, error) {
	spec := new(Spec)
	if err := decode(data, spec, ""); err != nil {
		return nil, err
	}
	if err := Validate(spec); err != nil {
		return nil, err
	}
	return spec, nil
}

// ParseProcess decodes and checks the process object of an exec. Paths in its
// errors begin with "process.", as in config.json.
func ParseProcess(data []byte) (*specs.Process, error) {
	p := new(specs.Process)
	if err := decode(data, p, "process"); err != nil {
		return nil, err
	}
	if err := validateProcess(p); err != nil {
		return nil, err
	}
	return p, nil
}

// ValidateProcess checks what a client asks to run in a container that exists, by
// the rules for a container's own process.
func ValidateProcess(p *specs.Process) error { return validateProcess(p) }

// decode fills into, and refuses strings with a NUL: no path, argument or
// option can carry one into the kernel, which would see a different, shorter
// string than whoever checked it.
func decode(data []byte, into any, path string) error {
	if err := json.Unmarshal(data, into); err != nil {
		return decodeError(err, path)
	}
	// JSON can express a NUL in this way only, so that the walk over all
	// strings is for those who try.
	if !bytes.Contains(data, []byte(`\u0000`)) {
		return nil
	}
	if at, found := findNUL(reflect.ValueOf(into), path); found {
		return invalid(at, "contains a NUL character")
	}
	return nil
}

func decodeError(err error, path string) error {
	var typeErr *json.UnmarshalTypeError
	if !errors.As(err, &typeErr) {
		return invalid(path, "%v", err)
	}
	return invalid(join(path, typeErr.Field), "a JSON %s where %s is expected", typeErr.Value, typeErr.Type)
}

func join(path, field string) string {
	switch {
	case path == "":
		return field
	case field == "":
		return path
	}
	return path + "." + field
}

// findNUL returns the JSON path of a string that contains a NUL.
func findNUL(v reflect.Value, path string) (string, bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "", false
		}
		return findNUL(v.Elem(), path)
	case reflect.String:
		return path, strings.ContainsRune(v.String(), 0)
	case reflect.Slice:
		for i := range v.Len() {
			if at, found := findNUL(v.Index(i), fmt.Sprintf("%s[%d]", path, i)); found {
				return at, true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			key := fmt.Sprintf("%s[%q]", path, it.Key().String())
			if strings.ContainsRune(it.Key().String(), 0) {
				return key, true
			}
			if at, found := findNUL(it.Value(), key); found {
				return at, true
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if at, found := findNUL(v.Field(i), join(path, name)); found {
				return at, true
			}
		}
	}
	return "", false
}
