package spool

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/ebbgate/ebbgate/bridge"
)

// shelfModel is what the shelf must hold.
type shelfModel struct {
	there map[string]string
	gone  map[string]string // forgotten: a crash may bring it back with this value
}

func newShelfModel() shelfModel {
	return shelfModel{there: map[string]string{}, gone: map[string]string{}}
}

var modelSpaces = []string{bridge.ShelfPrefix + "queue", bridge.ShelfPrefix + "body"}

// modelKey is a key of the shelf as the model names it: namespace, stroke, key.
func (m *model) modelKey() string {
	ns := rapid.SampledFrom(modelSpaces).Draw(m.t, "namespace")
	return ns + "|" + fmt.Sprintf("%c/%02d", 'a'+rapid.IntRange(0, 2).Draw(m.t, "session"), rapid.IntRange(0, 30).Draw(m.t, "entry"))
}

// shelve commits puts and deletions, sometimes beside records.
func (m *model) shelve() {
	b := new(bridge.Batch)
	if rapid.Bool().Draw(m.t, "append") {
		b = m.batch(rapid.Bool().Draw(m.t, "carry"))
	}
	for range rapid.IntRange(1, 20).Draw(m.t, "puts") {
		k := m.modelKey()
		ns, key, _ := strings.Cut(k, "|")
		delete(m.shelf.gone, k)
		if rapid.IntRange(0, 5).Draw(m.t, "delete") == 0 {
			b.Put(ns, key, nil)
			delete(m.shelf.there, k)
			continue
		}
		m.n++
		v := strings.Repeat(fmt.Sprintf("%06d", m.n), rapid.SampledFrom([]int{0, 1, 20, 2000}).Draw(m.t, "size"))
		b.Put(ns, key, []byte(v))
		m.shelf.there[k] = v
	}
	commitAll(m.tb, m.s, b)
}

// forget forgets some keys, present ones and others.
func (m *model) forget() {
	for range rapid.IntRange(1, 10).Draw(m.t, "keys") {
		k := m.modelKey()
		ns, key, _ := strings.Cut(k, "|")
		m.s.Forget(ns, key)
		if v, ok := m.shelf.there[k]; ok {
			delete(m.shelf.there, k)
			m.shelf.gone[k] = v
		}
	}
}

// started learns what a crash has brought back.
func (x *shelfModel) started(m *model) {
	for k, want := range x.gone {
		ns, key, _ := strings.Cut(k, "|")
		v, err := m.s.Get(ns, key)
		if err != nil {
			m.t.Fatal(err)
		}
		if v == nil {
			continue
		}
		if string(v) != want {
			m.t.Fatalf("forgotten key %q comes back with another value", k)
		}
		x.there[k] = want
	}
	x.gone = map[string]string{}
}

func (x *shelfModel) compare(m *model) {
	got, keys := map[string]string{}, 0
	for _, ns := range modelSpaces {
		var inOrder []string
		err := m.s.Scan(ns, "", func(k string, v []byte) bool {
			got[ns+"|"+k] = string(v)
			inOrder = append(inOrder, k)
			return true
		})
		if err != nil || !slices.IsSorted(inOrder) {
			m.t.Fatalf("scan of %s: %v, in order: %v", ns, err, slices.IsSorted(inOrder))
		}
		for _, prefix := range []string{"a/", "b/", "c/"} {
			err := m.s.Keys(ns, prefix, func(k string) bool {
				if _, ok := x.there[ns+"|"+k]; !ok || !strings.HasPrefix(k, prefix) {
					m.t.Fatalf("key %q of %s with prefix %s", k, ns, prefix)
				}
				keys++
				return true
			})
			if err != nil {
				m.t.Fatal(err)
			}
		}
	}
	if !maps.Equal(got, x.there) || keys != len(x.there) {
		m.t.Fatalf("the shelf holds %d values and %d keys, want %d", len(got), keys, len(x.there))
	}
	for k, want := range x.there {
		ns, key, _ := strings.Cut(k, "|")
		if v, err := m.s.Get(ns, key); err != nil || string(v) != want || v == nil {
			m.t.Fatalf("%q is %d bytes, want %d (%v)", k, len(v), len(want), err)
		}
	}
}
