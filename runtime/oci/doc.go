// SPDX-License-Identifier: Apache-2.0

// Package oci reads the config.json of a bundle and refuses what Foundry does
// not apply.
//
// Package runtime calls [Load] once for each Create, and [ParseProcess] once
// for each Exec. Both are decisions over bytes: nothing is opened but
// config.json, nothing is asked of the kernel, and a spec that passes may
// still ask for something that this host cannot do.
//
// The rule is that no property of runtime-spec 1.3 is skipped silently. A
// property that we do not apply gives an [UnsupportedError], one that
// contradicts the specification an [InvalidError]; both name the property by
// its path in the JSON text. What only the kernel can refuse, like a memory
// policy that it lacks, is left to it. Properties that the specification does
// not know, and annotations other than [Annotations], are ignored, as it
// demands.
//
// A spec stays valid for as long as its caller keeps it; the package holds no
// state.
//
//	spec, err := oci.Load("/run/containerd/io.containerd.runtime.v2.task/default/web")
//	var unsupported *oci.UnsupportedError
//	if errors.As(err, &unsupported) {
//		fmt.Println(unsupported.Path) // linux.intelRdt
//	}
package oci
