// SPDX-License-Identifier: Apache-2.0

package oci_test

import (
	"errors"
	"fmt"

	"foundry/runtime/oci"
)

func ExampleParse() {
	_, err := oci.Parse([]byte(`{
		"ociVersion": "1.3.0",
		"process": {"cwd": "/", "args": ["true"]},
		"root": {"path": "rootfs"},
		"linux": {"namespaces": [{"type": "mount"}], "intelRdt": {}}
	}`))
	fmt.Println(err)
	var unsupported *oci.UnsupportedError
	if errors.As(err, &unsupported) {
		fmt.Println(unsupported.Path)
	}
	// Output:
	// linux.intelRdt: writing to resctrl is not supported yet
	// linux.intelRdt
}
