// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// encode makes an ExportTraceServiceRequest of
// opentelemetry/proto/collector/trace/v1:
//
//	Request       1 ResourceSpans*
//	ResourceSpans 1 Resource{1 KeyValue*}  2 ScopeSpans*
//	ScopeSpans    1 Scope{1 name}  2 Span*
//	Span          1 trace_id 2 span_id 3 trace_state 4 parent_span_id 5 name 6 kind
//	              7 start 8 end (fixed64, ns)  9 KeyValue*  15 Status{2 message 3 code}  16 flags (fixed32)
//	KeyValue      1 key 2 AnyValue{1 string}
func encode(resource map[string]string, spans []*Span) []byte {
	var res []byte
	for _, k := range slices.Sorted(maps.Keys(resource)) {
		res = message(res, 1, keyValue(k, resource[k]))
	}
	scope := message(nil, 1, text(nil, 1, "foundry"))
	for _, s := range spans {
		scope = message(scope, 2, s.encode())
	}
	return message(nil, 1, message(message(nil, 1, res), 2, scope))
}

func (s *Span) encode() []byte {
	b := message(nil, 1, s.trace[:])
	b = message(b, 2, s.id[:])
	b = text(b, 3, s.state)
	if s.parent != [8]byte{} {
		b = message(b, 4, s.parent[:])
	}
	b = text(b, 5, s.name)
	b = number(b, 6, uint64(s.kind))
	b = protowire.AppendFixed64(protowire.AppendTag(b, 7, protowire.Fixed64Type), uint64(s.begin.UnixNano()))
	b = protowire.AppendFixed64(protowire.AppendTag(b, 8, protowire.Fixed64Type), uint64(s.end.UnixNano()))
	for i := 0; i+1 < len(s.attrs); i += 2 {
		b = message(b, 9, keyValue(s.attrs[i], s.attrs[i+1]))
	}
	if s.failure != "" {
		const failed = 2
		b = message(b, 15, number(text(nil, 2, s.failure), 3, failed))
	}
	const sampled = 1
	return protowire.AppendFixed32(protowire.AppendTag(b, 16, protowire.Fixed32Type), sampled)
}

func keyValue(k, v string) []byte { return message(text(nil, 1, k), 2, text(nil, 1, v)) }

func message(b []byte, field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), m)
}

// text leaves out what is empty, as proto3 does.
func text(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func number(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}
