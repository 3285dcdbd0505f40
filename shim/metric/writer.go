// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"bytes"
	"strconv"
	"strings"
)

// Type is a metric's type.
type Type string

// The types.
const (
	TypeCounter   Type = "counter"
	TypeGauge     Type = "gauge"
	TypeHistogram Type = "histogram"
)

// Writer writes families of samples, in the text format of Prometheus. The
// zero value is ready.
type Writer struct {
	buf  bytes.Buffer
	name string // of the family
}

// Bytes is the text.
func (w *Writer) Bytes() []byte { return w.buf.Bytes() }

// Family begins a metric; its samples follow before the next one's.
func (w *Writer) Family(name string, t Type, help string) {
	w.name = name
	w.buf.WriteString("# HELP " + name + " " + strings.NewReplacer("\\", `\\`, "\n", `\n`).Replace(help) + "\n")
	w.buf.WriteString("# TYPE " + name + " " + string(t) + "\n")
}

// One is a family of one sample.
func (w *Writer) One(name string, t Type, help string, value float64) {
	w.Family(name, t, help)
	w.Sample(value)
}

// Sample adds a value to the family; labels are pairs of name and value.
func (w *Writer) Sample(value float64, labels ...string) { w.sample("", value, labels) }

// Histogram adds the samples of h to the family.
func (w *Writer) Histogram(h *Histogram, labels ...string) {
	sum := h.sum.Load()
	var n uint64
	with := append(append([]string(nil), labels...), "le", "")
	for i := range h.counts {
		n += h.counts[i].Load()
		with[len(with)-1] = "+Inf"
		if i < len(bounds) {
			with[len(with)-1] = number(bounds[i].Seconds())
		}
		w.sample("_bucket", float64(n), with)
	}
	w.sample("_sum", float64(sum)/1e9, labels)
	w.sample("_count", float64(n), labels)
}

func (w *Writer) sample(suffix string, value float64, labels []string) {
	w.buf.WriteString(w.name + suffix)
	for i := 0; i+1 < len(labels); i += 2 {
		w.buf.WriteByte("{,"[min(i, 1)])
		w.buf.WriteString(labels[i] + `="` + escaper.Replace(labels[i+1]) + `"`)
	}
	if len(labels) > 0 {
		w.buf.WriteByte('}')
	}
	w.buf.WriteString(" " + number(value) + "\n")
}

// escaper is for the values of labels.
var escaper = strings.NewReplacer("\\", `\\`, "\n", `\n`, `"`, `\"`)

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
