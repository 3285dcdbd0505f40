// SPDX-License-Identifier: Apache-2.0

// Package metric counts what the server does and writes it as Prometheus
// reads it (text format 0.0.4). The shim observes; the debug socket writes,
// when somebody asks. See docs/decisions/0012-looking-inside.md on why it is not
// Prometheus' own library.
//
//	var h metric.Histogram
//	h.Observe(took)
//	var w metric.Writer
//	w.Family("foundry_rpc_duration_seconds", metric.TypeHistogram, "What a call took.")
//	w.Histogram(&h, "method", "Create", "code", "OK")
//	_, err := out.Write(w.Bytes())
package metric
