package spool

import (
	"encoding/binary"
	"slices"

	"github.com/ebbgate/ebbgate/bridge"
)

// appendOps encodes what a batch changes besides appending, so that a log
// value can carry it to the state.
func appendOps(b []byte, releases []bridge.Release, puts []bridge.Put, adds []bridge.Add) []byte {
	b = binary.AppendUvarint(b, uint64(len(releases)))
	for _, r := range releases {
		b = appendString(b, r.Queue)
		b = binary.AppendUvarint(b, uint64(r.Place))
		b = binary.AppendUvarint(b, uint64(r.Bytes))
	}
	b = binary.AppendUvarint(b, uint64(len(puts)))
	for _, p := range puts {
		b = appendString(appendString(b, p.Namespace), p.Key)
		if p.Value == nil {
			b = append(b, 0)
			continue
		}
		b = appendString(append(b, 1), string(p.Value))
	}
	b = binary.AppendUvarint(b, uint64(len(adds)))
	for _, a := range adds {
		b = appendString(appendString(b, a.Namespace), a.Key)
		b = binary.AppendVarint(b, a.Delta)
	}
	return appendFates(b, releases)
}

// appendFates encodes the fates of releases that are not all deliveries.
func appendFates(b []byte, releases []bridge.Release) []byte {
	if !slices.ContainsFunc(releases, func(r bridge.Release) bool { return r.Fate != bridge.Delivered }) {
		return b
	}
	for _, r := range releases {
		b = append(b, byte(r.Fate))
	}
	return b
}

func (d *decoder) fates(releases []bridge.Release) {
	if d.err != nil || len(d.b) == 0 {
		return
	}
	for i := range releases {
		if releases[i].Fate = bridge.Fate(d.byte()); releases[i].Fate >= bridge.Fates {
			d.fail("a fate that this version does not know")
			return
		}
	}
}

// decodeOps decodes what appendOps made.
func decodeOps(b []byte) (*bridge.Batch, error) {
	d := decoder{b: b}
	out := new(bridge.Batch)
	for range d.count(3) {
		out.Releases = append(out.Releases, bridge.Release{Queue: d.string(), Place: bridge.Place(d.uvarint()), Bytes: int(d.uvarint())})
	}
	for range d.count(3) {
		p := bridge.Put{Namespace: d.string(), Key: d.string()}
		if d.byte() == 1 {
			p.Value = append([]byte{}, d.take(d.count(1))...)
		}
		out.Puts = append(out.Puts, p)
	}
	for range d.count(3) {
		out.Adds = append(out.Adds, bridge.Add{Namespace: d.string(), Key: d.string(), Delta: d.varint()})
	}
	d.fates(out.Releases)
	if d.err == nil && len(d.b) > 0 {
		d.fail("bytes after the end")
	}
	return out, d.err
}
